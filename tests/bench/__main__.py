"""Run benchmarks: `python -m tests.bench [STAGE...]`; `make bench` runs them all.

Prints one table, keeps the results in tests/bench/results/ and writes docs/performance.md. To add a benchmark, add
a module to tests/bench/stages/ (tests/bench/harness.py says what stands in it) and run it.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

from tests.bench.harness import (
    ROOT,
    Case,
    load_stage,
    machine,
    measure,
    published_figures,
    size_of,
    stage_names,
)
from tests.bench.report import missed, print_table, read_results, slower, store_results, write_page

WORK = ROOT / "work" / "bench"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__.split("\n")[0])
    parser.add_argument("stages", nargs="*", help=f"any of {', '.join(stage_names())}; default: all")
    parser.add_argument("--case", action="append", help="only cases of this name; may be repeated")
    parser.add_argument("--most", default="1M", help="leave out cases above this size, e.g. 100k")
    parser.add_argument("--work", type=Path, default=WORK, help="folder of inputs, kept between runs")
    parser.add_argument(
        "--check",
        action="store_true",
        help="store nothing; exit code 1 where a case is slower than the stored one or misses its target",
    )
    parser.add_argument("--page", action="store_true", help="only write the page from the stored results")
    given = parser.parse_args()
    unknown = sorted(set(given.stages) - set(stage_names()))
    if unknown:
        parser.error(f"no stage {unknown[0]}; there are {', '.join(stage_names())}")
    if not size_of(given.most):
        parser.error(f"--most {given.most}: give a size such as 100k")
    return given


def _wanted(name: str, given: argparse.Namespace) -> list[Case]:
    """Cases of a stage that were asked for."""
    return [
        case
        for case in load_stage(name).cases
        if (not given.case or case.name in given.case) and size_of(case.name) <= size_of(given.most)
    ]


def _measure(name: str, case: Case, given: argparse.Namespace) -> dict[str, Any]:
    print(f"{name} {case.name} ...", end=" ", file=sys.stderr, flush=True)
    result = measure(load_stage(name), case, given.work.resolve())
    print(f"{result['seconds']:.2f} s, {result['rows_per_s']:,.0f} rows/s", file=sys.stderr)
    return result


def _bench(names: list[str], given: argparse.Namespace) -> list[str]:
    """Measure, store and print cases, and write the page; returns what failed."""
    failed = []
    for name in [] if given.page else names:
        for case in _wanted(name, given):
            try:
                store_results(name, machine(), {case.name: _measure(name, case, given)})
            except RuntimeError as error:
                failed.append(str(error))
    print_table(names)
    write_page()
    figures = published_figures()
    for name in names:
        stored = read_results(name).get("cases", {})
        for case in _wanted(name, given):
            for line in missed(case, stored[case.name], figures) if case.name in stored else ():
                print(f"{name} {case.name}: {line}", file=sys.stderr)
    return failed


def _check(names: list[str], given: argparse.Namespace) -> list[str]:
    """Measure cases and compare them with targets and with what is stored; returns what is worse."""
    figures, worse = published_figures(), []
    for name in names:
        stored = read_results(name).get("cases", {})
        for case in _wanted(name, given):
            try:
                result = _measure(name, case, given)
            except RuntimeError as error:
                worse.append(str(error))
                continue
            lines = [*missed(case, result, figures), *slower(result, stored.get(case.name))]
            worse += [f"{name} {case.name}: {line}" for line in lines]
    return worse


def main() -> int:
    given = _arguments()
    names = given.stages or stage_names()
    bad = _check(names, given) if given.check else _bench(names, given)
    for line in bad:
        print(line, file=sys.stderr)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
