"""One small demo, built once from a copy of the checkout, for every end-to-end test."""

from pathlib import Path

import pytest

from tests.demo_world import Demo, copy_checkout


@pytest.fixture(scope="session")
def small_demo(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Demo:
    """The small demo in a copy of its own, not built yet."""
    clone = copy_checkout(root, tmp_path_factory.mktemp("clone"))
    return Demo(clone, clone / "runs" / "demo")


@pytest.fixture(scope="session")
def demo(small_demo: Demo) -> Demo:
    """The small demo, built to its tables and views."""
    small_demo.outcome()
    return small_demo
