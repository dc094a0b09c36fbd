"""The cluster and the demo in a copy of the checkout; skipped, with the reason, where no Slurm can be had."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.demo_world import copy_checkout
from tests.slurm import cluster
from tests.slurm.run import SlurmRun


@pytest.fixture(scope="session")
def slurm() -> Iterator[None]:
    """A one-node Slurm without accounting."""
    try:
        cluster.up()
    except cluster.CannotStart as reason:
        pytest.skip(f"no Slurm here: {reason}")
    yield
    cluster.down()


@pytest.fixture(scope="session")
def run(slurm: None, root: Path, tmp_path_factory: pytest.TempPathFactory) -> SlurmRun:
    """A copy of the checkout whose small demo runs through the slurm profile; nothing is built yet."""
    clone = copy_checkout(root, tmp_path_factory.mktemp("clone"))
    return SlurmRun(clone, clone / "runs" / "demo")
