"""One small demo run to one cell without faults: what every faulty run has to end in, and a start for those that
need finished stages. `make test-faults FAULTS=sample` does less of everything, to a cell with fewer stages."""

import os
import shutil
from pathlib import Path

import pytest

from tests.demo_world import Demo, copy_checkout

SAMPLE = os.environ.get("FAULTS") == "sample"
KILLS = 2 if SAMPLE else 20
INPUTS = 72 if SAMPLE else 240
"""Broken files, divided among the commands."""
EXAMPLES = 10 if SAMPLE else 60
"""Made-up inputs of each reader."""
NAME = "en_sft_tiny" if SAMPLE else "en_hdpo_tiny"
CELL = f"results/metrics/{NAME}.json"
CONFIGS = ("tests/e2e/small.yaml", "tests/faults/small.yaml")


@pytest.fixture(scope="session")
def clone(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_checkout(root, tmp_path_factory.mktemp("clone"))


@pytest.fixture(scope="session")
def whole(clone: Path) -> Demo:
    """The cell, made without a fault."""
    demo = Demo(clone, clone / "runs" / "whole", CONFIGS)
    demo.outcome(targets=[CELL])
    return demo


@pytest.fixture
def fresh(clone: Path, tmp_path: Path) -> Demo:
    """A folder in which nothing was made."""
    return Demo(clone, tmp_path / "fresh", CONFIGS)


@pytest.fixture
def finished(whole: Demo, tmp_path: Path) -> Demo:
    """A copy of the finished run to do harm to."""
    shutil.copytree(whole.runs, tmp_path / "finished", symlinks=True)
    return Demo(whole.root, tmp_path / "finished", CONFIGS)
