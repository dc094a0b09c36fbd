"""Near-duplicates: formatted records searched for those that differ in a few words, after the exact pass."""

from collections.abc import Callable
from functools import partial

from polyalign.data.dedup import find_duplicates
from polyalign.data.near_duplicates import find_near_duplicates
from polyalign.data.record_trees import record_files
from polyalign.data.shingles import NearDuplicates
from polyalign.throughput import usable_cores
from tests.bench.harness import Case, Space
from tests.bench.stages.dedup import formatted_folder, prepare_formatted
from tests.bench.synthetic import CHINESE

TITLE = "Near-duplicates"
BOUND = (
    "Cutting texts into shingles bounds it, over all cores; signatures take a tenth of the time. Synthetic text is put "
    "together from 4,000 sentences, so it has far more candidates than real text; they grow faster than the records."
)


def _start(records: int, space: Space) -> Callable[[], int]:
    files = record_files(formatted_folder(space, records))
    languages = [
        {name: splits for name, splits in files.items() if (name in CHINESE) == chinese}
        for chinese in (False, True)
    ]
    # The exact pass has a stage of its own.
    searched = [(ours, *find_duplicates(ours, usable_cores())) for ours in languages]

    def run() -> int:
        total = 0
        for ours, gone, report in searched:
            find_near_duplicates(ours, NearDuplicates(mode="report"), gone=gone, processes=usable_cores())
            total += report["counts"]["final_total"]
        return total

    return run


CASES = tuple(
    Case(name, partial(_start, records), partial(prepare_formatted, records), memory_mb=2000)
    for name, records in (("10k", 10_000), ("100k", 100_000), ("1M", 1_000_000))
)
