"""Views: deduplicated corpora merged, and written as JSONL, LLaMA-Factory and Bucket-SFT files."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from polyalign.data.record_trees import record_files
from polyalign.data.splits import merge_splits
from polyalign.data.views import write_views
from polyalign.records import VIEW_SPLITS
from polyalign.throughput import usable_cores
from tests.bench.harness import Case, Space
from tests.bench.stages.dedup import deduplicate, formatted_folder, prepare_formatted
from tests.bench.synthetic import CHINESE

TITLE = "Merged splits and views"
BOUND = (
    "Merging copies Arrow columns and is bound by their compression; views are put together column by column, several "
    "batches at a time, and bound by the earlier turns, which are paired row by row. Time grows with the text, memory "
    "not at all. Merged views are the merged table, the JSONL and the LLaMA-Factory files; bucket views are the "
    "Bucket-SFT files, made from the merged table."
)


def _deduplicated(space: Space, records: int) -> Path:
    return space.data / f"deduplicated_{records}"


def _merge(space: Space, records: int, out: Path) -> tuple[dict[str, dict[str, Path]], int]:
    """Merge both languages; ({language: {split: file}}, records)."""
    files, merged, total = record_files(_deduplicated(space, records)), {}, 0
    for language in ("en", "zh"):
        ours = {name: splits for name, splits in files.items() if (name in CHINESE) == (language == "zh")}
        merged[language] = {split: out / language / f"{split}.parquet" for split in VIEW_SPLITS}
        total += sum(merge_splits(ours, merged[language], language)["records"].values())
    return merged, total


def _prepare(records: int, space: Space) -> None:
    prepare_formatted(records, space)
    target = _deduplicated(space, records)
    if not target.is_dir():
        aside = target.with_suffix(".partial")
        deduplicate(formatted_folder(space, records), aside)
        aside.rename(target)


def _prepare_merged(records: int, space: Space) -> None:
    _prepare(records, space)
    target = space.data / f"merged_{records}"
    if not target.is_dir():
        aside = target.with_suffix(".partial")
        _merge(space, records, aside)
        aside.rename(target)


def _start_merged(records: int, space: Space) -> Callable[[], int]:
    def run() -> int:
        merged, total = _merge(space, records, space.scratch / "merged")
        for language, splits in merged.items():
            write_views(splits, space.scratch / language, usable_cores(), ("current", "llamafactory"))
        return total

    return run


def _start_bucket(records: int, space: Space) -> Callable[[], int]:
    def run() -> int:
        total = 0
        for language in ("en", "zh"):
            splits = {
                split: space.data / f"merged_{records}" / language / f"{split}.parquet"
                for split in VIEW_SPLITS
            }
            details, _ = write_views(splits, space.scratch / language, usable_cores(), ("dist_sft",))
            total += sum(counts["records"] for counts in details.values())
        return total

    return run


_SIZES = (("10k", 10_000), ("100k", 100_000), ("1M", 1_000_000))
CASES = tuple(
    Case(
        f"{what}, {name}",
        partial(start, records),
        partial(prepare, records),
        published=published,
        target=3.0 if records > 10_000 else None,
        memory_mb=2000,
    )
    for what, published, start, prepare in (
        ("merged", "merged_views", _start_merged, _prepare),
        ("bucket", "bucket_views", _start_bucket, _prepare_merged),
    )
    for name, records in _SIZES
)
