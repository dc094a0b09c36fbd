"""Count what the corpora hold: records, answer tokens and buckets by split, and what was left out and why.

Everything is read batch by batch, two columns of it, so memory does not grow with the corpora.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from csv import DictReader
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from polyalign.data.record_trees import group_by_corpus
from polyalign.data.splits import CORPUS_SPLIT
from polyalign.errors import BadInput
from polyalign.files import StrPath, read_table
from polyalign.manifest import read_manifest
from polyalign.published import FOLDER
from polyalign.records import VIEW_SPLITS, read_record_batches

GENERATED = "generated"
_TOKENS = '"length_tokens": (?P<tokens>[0-9]+)'


@dataclass(frozen=True)
class SplitCounts:
    """One split of one corpus: records and answer tokens, in all and by bucket."""

    records: int = 0
    tokens: int = 0
    buckets: Mapping[str, int] = field(default_factory=dict)
    bucket_tokens: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class CorpusInventory:
    """One corpus after deduplication, and what was left out on the way.

    Attributes:
        obtained: `download`, `mirror` or `generated`.
        formatted: records before deduplication.
        splits: {train, val, test or validation2: counts}.
        dropped: {cause: rows that gave no record}.
        duplicates: {cause: records that deduplication removed}.
    """

    dataset: str
    language: str
    obtained: str
    formatted: int
    splits: Mapping[str, SplitCounts]
    dropped: Mapping[str, int]
    duplicates: Mapping[str, int]

    def records(self, split: str) -> int:
        return self.splits[split].records

    @property
    def all_records(self) -> int:
        return sum(counts.records for counts in self.splits.values())

    @property
    def all_tokens(self) -> int:
        return sum(counts.tokens for counts in self.splits.values())


@dataclass(frozen=True)
class PublishedCounts:
    """Records of a corpus after deduplication as published; None for a split that was not."""

    dataset: str
    language: str
    splits: Mapping[str, int | None]


def count_split(path: StrPath) -> SplitCounts:
    """Count one file of records.

    Raises:
        BadInput: a record's meta does not say how many tokens its answer has.
    """
    records: Counter[str] = Counter()
    tokens: Counter[str] = Counter()
    for batch in read_record_batches(path, ["bucket_id", "meta"]):
        lengths = pc.struct_field(pc.extract_regex(batch.column("meta"), _TOKENS), "tokens")
        if lengths.null_count:
            first = pc.index(pc.is_null(lengths), pa.scalar(True)).as_py()
            raise BadInput(
                "the answer's token count is missing",
                file=path,
                row=sum(records.values()) + first + 1,
                field="meta.length_tokens",
                expected="a whole number",
                fix="format the corpus again",
            )
        table = pa.table({"bucket": batch.column("bucket_id"), "tokens": pc.cast(lengths, pa.int64())})
        for row in table.group_by("bucket").aggregate([("tokens", "sum"), ("tokens", "count")]).to_pylist():
            records[row["bucket"]] += row["tokens_count"]
            tokens[row["bucket"]] += row["tokens_sum"]
    return SplitCounts(sum(records.values()), sum(tokens.values()), dict(records), dict(tokens))


def take_inventory(
    dataset: str,
    language: str,
    raw: StrPath,
    formatted: StrPath,
    deduplicated: Mapping[str, StrPath],
    removed: pa.Table,
) -> CorpusInventory:
    """The inventory of one corpus.

    Args:
        raw, formatted: manifests of the raw files and of the formatted corpus.
        deduplicated: {split of the corpus: file of records}, all of `SPLITS`.
        removed: what deduplication removed, see `dedup.REMOVED_SCHEMA`; other corpora's rows are ignored.
    """
    details: Mapping[str, Any] = read_manifest(formatted)["details"]
    ours = removed.filter(pc.equal(removed.column("dataset"), dataset))
    causes = Counter(ours.column("cause").to_pylist())
    formatted_records = sum(details["split_counts"].values())
    splits = {merged: count_split(deduplicated[split]) for merged, split in CORPUS_SPLIT.items()}
    # The exact pass lists what it removes; what is gone beyond that are near-duplicates.
    near = formatted_records - causes.total() - sum(split.records for split in splits.values())
    if near:
        causes["near_duplicate"] = near
    return CorpusInventory(
        dataset=dataset,
        language=language,
        obtained=read_manifest(raw)["details"].get("obtained", ""),
        formatted=formatted_records,
        splits=splits,
        dropped=details["dropped"],
        duplicates=dict(sorted(causes.items())),
    )


def take_inventories(
    corpora: Mapping[str, Sequence[str]],
    raw: Iterable[StrPath],
    formatted: Iterable[StrPath],
    records: Iterable[StrPath],
    removed: Iterable[StrPath],
) -> list[CorpusInventory]:
    """The inventories of some corpora, in the order given.

    Args:
        corpora: {language: its corpora}.
        raw, formatted: manifests of each corpus, in folders named after it.
        records: deduplicated records, `{dataset}/{split}.parquet`.
        removed: what deduplication removed from each language, in their order.
    """
    raw_manifests, manifests = (
        {Path(path).parent.name: path for path in paths} for paths in (raw, formatted)
    )
    tables, found = group_by_corpus(records), []
    for (language, datasets), table in zip(corpora.items(), map(read_table, removed), strict=True):
        found += [
            take_inventory(name, language, raw_manifests[name], manifests[name], tables[name], table)
            for name in datasets
        ]
    return found


def published_inventory(path: StrPath = FOLDER / "inventory.csv") -> dict[str, PublishedCounts]:
    """The published counts by corpus."""
    with open(path, encoding="utf-8", newline="") as handle:
        rows = list(DictReader(handle))
    return {
        row["dataset"]: PublishedCounts(
            row["dataset"],
            row["language"],
            {split: int(row[split]) if row[split] else None for split in VIEW_SPLITS},
        )
        for row in rows
    }
