"""Progress is told on standard error and changes nothing else."""

import pytest

from polyalign.progress import track


def test_items_pass_through_and_the_log_tells_label_and_share(capfd: pytest.CaptureFixture[str]):
    assert list(track(range(7), label="scoring", unit="answers")) == list(range(7))
    out, error = capfd.readouterr()
    assert out == ""
    assert "scoring: 7/7 answers" in error
    # Not one line an item: a log of a million rows stays short.
    assert len(error.split("\n")) <= 5


def test_a_generator_is_tracked_with_or_without_a_total(capfd: pytest.CaptureFixture[str]):
    assert list(track((item for item in "abc"), total=3, label="read")) == ["a", "b", "c"]
    assert "read: 3/3 rows" in capfd.readouterr().err
    assert list(track((item for item in "abc"), label="read")) == ["a", "b", "c"]
    assert "read: 3/? rows" in capfd.readouterr().err


def test_an_item_can_stand_for_several(capfd: pytest.CaptureFixture[str]):
    assert list(track(["ab", "cde"], total=5, label="read", unit="letters", count=len)) == ["ab", "cde"]
    assert "read: 5/5 letters" in capfd.readouterr().err


def test_nothing_to_do():
    assert list(track([], label="none")) == []


def test_an_error_in_the_loop_comes_through():
    def broken():
        yield 1
        raise ValueError("broken source")

    with pytest.raises(ValueError, match="broken source"):
        list(track(broken(), label="read"))
