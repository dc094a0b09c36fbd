"""The benchmark harness: stages load, cases are compared with figures that exist, the page follows the results."""

from functools import partial

import pytest

from tests.bench import report
from tests.bench.harness import (
    Case,
    load_stage,
    published_figures,
    ratio_to_published,
    run_timed,
    stage_names,
)


@pytest.mark.parametrize("name", stage_names())
def test_every_stage_loads_and_names_a_published_figure_that_exists(name):
    stage, figures = load_stage(name), published_figures()
    assert stage.cases
    assert stage.bound.endswith(".")
    for case in stage.cases:
        assert case.published is None or case.published in figures, case.name
        assert case.target is None or case.published, f"{case.name}: a target of what?"


def test_the_page_follows_the_stored_results():
    assert report.PAGE.read_text(encoding="utf-8") == report.page(), "run `python -m tests.bench --page`"


def test_a_ratio_is_by_rate_or_by_seconds():
    result = {"rows_per_s": 300.0, "seconds": 2.0}
    assert ratio_to_published(result, {"rows_per_s": 100.0, "seconds": None}) == 3.0
    assert ratio_to_published(result, {"rows_per_s": None, "seconds": 5.0}) == 2.5
    assert ratio_to_published(result, None) is None


def test_a_missed_target_and_a_missed_memory_limit_are_named():
    figures = {"x": {"rows_per_s": 100.0, "seconds": None}}
    case = Case("10k", partial(int), published="x", target=3.0, memory_mb=100)
    slow = {"rows_per_s": 250.0, "seconds": 1.0, "peak_mb": 101}
    assert len(report.missed(case, slow, figures)) == 2
    assert report.missed(case, {**slow, "rows_per_s": 301.0, "peak_mb": 100}, figures) == []


def test_memory_of_children_counts():
    """A child holding 200 MB shows, although the process itself holds little."""
    import subprocess
    import sys

    code = "import time; x = bytearray(200_000_000); x[::4096] = bytes([1]) * len(x[::4096]); time.sleep(0.5)"

    def work() -> int:
        subprocess.run([sys.executable, "-c", code], check=True)
        return 1

    result = run_timed(work)
    assert result["peak_mb"] > 200
    assert result["rows"] == 1
