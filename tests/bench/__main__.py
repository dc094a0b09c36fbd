"""Run benchmarks: `python -m tests.bench [STAGE...]`; `make bench` runs them all.

Prints one table, keeps the results in tests/bench/results/ and writes docs/performance.md. To add a benchmark, add
a module to tests/bench/stages/ (tests/bench/harness.py says what stands in it) and run it.
"""

import argparse
import re
import sys
from pathlib import Path

from tests.bench.harness import ROOT, Case, load_stage, machine, measure, published_figures, stage_names
from tests.bench.report import missed, print_table, read_results, store_results, write_page

WORK = ROOT / "work" / "bench"
_SIZE = re.compile(r"(?:.*, )?(\d+)([kM]?)")
_UNITS = {"": 1, "k": 1_000, "M": 1_000_000}


def size_of(name: str) -> int:
    """Rows that a case's name or an option speaks of: "10k", "merged, 1M"; 0 where it speaks of none."""
    match = _SIZE.fullmatch(name)
    return int(match[1]) * _UNITS[match[2]] if match else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__.split("\n")[0])
    parser.add_argument("stages", nargs="*", help=f"any of {', '.join(stage_names())}; default: all")
    parser.add_argument("--case", action="append", help="only cases of this name; may be repeated")
    parser.add_argument("--most", default="1M", help="leave out cases above this size, e.g. 100k")
    parser.add_argument("--work", type=Path, default=WORK, help="folder of inputs, kept between runs")
    parser.add_argument("--check", action="store_true", help="exit code 1 where a target is missed")
    parser.add_argument("--page", action="store_true", help="only write the page from the stored results")
    given = parser.parse_args()
    unknown = sorted(set(given.stages) - set(stage_names()))
    if unknown:
        parser.error(f"no stage {unknown[0]}; there are {', '.join(stage_names())}")
    if not size_of(given.most):
        parser.error(f"--most {given.most}: give a size such as 100k")
    return given


def _run(name: str, given: argparse.Namespace) -> list[str]:
    """Measure and store the wanted cases of a stage; returns those that failed."""
    stage, failed = load_stage(name), []

    def wanted(case: Case) -> bool:
        return (not given.case or case.name in given.case) and size_of(case.name) <= size_of(given.most)

    for case in filter(wanted, stage.cases):
        print(f"{name} {case.name} ...", end=" ", file=sys.stderr, flush=True)
        try:
            result = measure(stage, case, given.work.resolve())
        except RuntimeError as error:
            failed.append(str(error))
            continue
        print(f"{result['seconds']:.2f} s, {result['rows_per_s']:,.0f} rows/s", file=sys.stderr)
        store_results(name, machine(), {case.name: result})
    return failed


def main() -> int:
    given = _arguments()
    names = given.stages or stage_names()
    failed = [] if given.page else [line for name in names for line in _run(name, given)]
    print_table(names)
    write_page()
    for line in failed:
        print(line, file=sys.stderr)
    figures = published_figures()
    misses = [
        f"{name} {case.name}: {line}"
        for name in names
        for case in load_stage(name).cases
        if (result := read_results(name).get("cases", {}).get(case.name))
        for line in missed(case, result, figures)
    ]
    for line in misses:
        print(line, file=sys.stderr)
    return 1 if failed or (given.check and misses) else 0


if __name__ == "__main__":
    sys.exit(main())
