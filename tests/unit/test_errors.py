"""Messages that users act on: one line a problem, whole in every process."""

import errno
import pickle

import pytest

from polyalign.errors import BadInput, BadInputs, PolyAlignError, storage_problem


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


@pytest.mark.parametrize(
    "error, line",
    [
        (
            OSError(errno.ENOSPC, "full", "a/b.parquet"),
            "a/b.parquet: No space left on device; fix: free some space",
        ),
        (
            OSError("[Errno 28] Error writing bytes to file. Detail: No space left on device"),
            "No space left on",
        ),
        (PermissionError(errno.EACCES, "no", "x"), "x: Permission denied; fix: ask for the right to"),
    ],
)
def test_what_a_disk_refuses_is_one_line_with_a_fix(error, line):
    problem = storage_problem(error)
    assert str(problem).startswith(line)
    assert "then run the same command again" in str(problem)


def test_other_errors_of_files_are_not_the_disks():
    assert storage_problem(FileNotFoundError(errno.ENOENT, "gone", "x")) is None
    assert storage_problem(OSError("some library's own words")) is None
