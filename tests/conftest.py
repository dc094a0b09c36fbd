"""Fixtures shared by every test: the repository root, Snakemake, and real data where it exists."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.snakemake_runs import run_snakemake

# One thread each: tests run beside each other and on small machines.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository root."""
    return ROOT


@pytest.fixture(scope="session")
def shared() -> Path:
    """Real inputs and expected numbers that live beside the checkout; the test is skipped where they do not."""
    for parent in ROOT.parents:
        if (parent / "shared" / "data" / "README.md").is_file():
            return parent / "shared"
    pytest.skip("no folder shared/data beside the checkout: its real inputs are not part of this repository")


@pytest.fixture(scope="session")
def snakemake(root: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """A function that runs `snakemake ARGS...` from the repository root and returns the finished process."""

    def run(*arguments: str | Path, cwd: Path = root, timeout: int = 900) -> subprocess.CompletedProcess[str]:
        return run_snakemake(*arguments, cwd=cwd, environment=os.environ, timeout=timeout)

    return run
