"""Every trainer still takes the steps it took: loss and gradient norm of the first 50, against those committed."""

import pytest

from tests.golden import trajectories

# The same machine gives the same bits. Other processors add up in another order, which 50 steps of a learning rate
# of 1e-3 let grow to about 1e-4; a wrong weight or a missing term changes the first digits.
LOSS, GRADIENT = 1e-3, 1e-2


@pytest.mark.parametrize("name", trajectories.TRAINERS)
def test_the_first_50_steps_are_the_committed_ones(name, tmp_path):
    found, expected = trajectories.trajectory(name, tmp_path), trajectories.golden(name)
    assert [row["step"] for row in found] == [row["step"] for row in expected] == list(range(1, 51))
    for now, then in zip(found, expected, strict=True):
        place = f"{name}, step {int(then['step'])}"
        assert now["loss"] == pytest.approx(then["loss"], rel=LOSS, abs=1e-5), place
        assert now["grad_norm"] == pytest.approx(then["grad_norm"], rel=GRADIENT, abs=1e-5), place


def test_the_committed_trajectories_learn():
    """A golden file of a trainer that learns nothing would hold nothing."""
    for name in trajectories.TRAINERS:
        rows = trajectories.golden(name)
        first, last = (sum(row["loss"] for row in part) / 10 for part in (rows[:10], rows[-10:]))
        assert last < 0.98 * first, name
        assert all(row["grad_norm"] > 0 for row in rows), name
