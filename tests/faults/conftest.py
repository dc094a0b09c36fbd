"""One small demo run to one cell without faults: what every faulty run has to end in, and a start for those that
need finished stages."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.demo_world import Demo, copy_checkout

CELL = "results/metrics/en_hdpo_tiny.json"


@pytest.fixture(scope="session")
def clone(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_checkout(root, tmp_path_factory.mktemp("clone"))


@pytest.fixture(scope="session")
def whole(clone: Path) -> Demo:
    """The cell, made without a fault."""
    demo = Demo(clone, clone / "runs" / "whole")
    demo.outcome(targets=[CELL])
    return demo


@pytest.fixture
def finished(whole: Demo, tmp_path: Path) -> Callable[[], Demo]:
    """Makes copies of the finished run to do harm to."""

    def copy() -> Demo:
        runs = tmp_path / "runs"
        shutil.copytree(whole.runs, runs, symlinks=True)
        return Demo(whole.root, runs)

    return copy
