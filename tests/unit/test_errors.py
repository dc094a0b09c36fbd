"""Messages that users act on: one line a problem, whole in every process."""

import pickle

import pytest

from polyalign.errors import BadInput, BadInputs, PolyAlignError


def test_every_part_stands_in_one_line():
    error = BadInput(
        "found 'xl'",
        file="a.jsonl",
        row=3,
        id="dolly-7",
        field="length_bin",
        expected="one of short, medium",
        fix="format it again",
    )
    assert str(error) == (
        "a.jsonl, row 3, id dolly-7, field 'length_bin': found 'xl'; "
        "expected one of short, medium; fix: format it again"
    )


def test_parts_not_given_leave_no_trace():
    assert str(BadInput("no text")) == "no text"
    assert str(BadInput("no text", row=0)) == "row 0: no text"


def test_newlines_in_a_value_do_not_break_the_line():
    problem = "found 'a\nb'\r\n"
    assert "\n" not in str(BadInput(problem, id="x\ny"))
    assert str(BadInputs([problem, problem])).count("\n") == 1


def test_only_the_first_problems_are_told():
    text = str(BadInputs([BadInput("empty", row=row) for row in range(1, 26)]))
    lines = text.splitlines()
    assert len(lines) == 21
    assert lines[19] == "row 20: empty"
    assert lines[20] == "... and 5 more problems of this kind"


@pytest.mark.parametrize(
    "error",
    [
        BadInput("empty", file="a", row=2, fix="fill it"),
        BadInputs(["first", "second"]),
        BadInputs([f"row {row}" for row in range(50)]),
    ],
)
def test_errors_survive_the_way_back_from_a_worker_process(error: PolyAlignError):
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert str(copy) == str(error)
