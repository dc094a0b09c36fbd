"""The inventory as tables: what each corpus holds, beside what was published, by bucket, and what was left out."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from polyalign.data.inventory import GENERATED, CorpusInventory, PublishedCounts, published_inventory
from polyalign.files import StrPath
from polyalign.plots.inventory import draw_inventory
from polyalign.published import CITATION, TEST_ROWS
from polyalign.records import VIEW_SPLITS
from polyalign.tables.html import write_page
from polyalign.tables.model import ALL_LANGUAGES, Column, Page, Row, Table, Tone, Value
from polyalign.tables.names import bucket_label, bucket_order, language_name

CLOSE = 0.01
"""A split that differs from the published one by at most this share, or by `FEW` records, is close to it."""
FEW = 5
PART = 0.9
"""A corpus with no split above the published one, and less than this share of its records, is a part of it."""
_DUPLICATES = {
    "group_conflict": "its conversation also stands in a better protected split",
    "same_split": "an equal record stands before it in the same split",
    "cross_split": "an equal record stands in a better protected split",
    "near_duplicate": "a record that differs from it in a few words stays in its place",
}
_TONES: dict[str, Tone] = {"equal": "good", "close": "good", "differs": "bad"}


def count_verdict(ours: CorpusInventory, published: PublishedCounts | None) -> str:
    """How the counts of a corpus compare: equal, close, part of it, differs, generated or not published."""
    if ours.obtained == GENERATED:
        return "generated text"
    if published is None:
        return "not published"
    pairs = [(ours.records(split), there) for split, there in published.splits.items() if there is not None]
    if all(here == there for here, there in pairs):
        return "equal"
    if all(abs(here - there) <= max(FEW, CLOSE * there) for here, there in pairs):
        return "close"
    smaller = all(here <= there for here, there in pairs)
    if smaller and sum(here for here, _ in pairs) < PART * sum(there for _, there in pairs):
        return "part of it"
    return "differs"


def _count(number: int | None, **more: Any) -> Value:
    return Value(None if number is None else float(number), **more)


def _rows_by_language(
    corpora: Sequence[CorpusInventory], values: Callable[[Sequence[CorpusInventory]], dict[str, Value]]
) -> list[Row]:
    """A row a corpus and one for all of a language, values made from the corpora that a row stands for."""
    rows = []
    for language in dict.fromkeys(corpus.language for corpus in corpora):
        group = [corpus for corpus in corpora if corpus.language == language]
        name = language_name(language)
        rows += [Row(name, corpus.dataset, corpus.dataset, values([corpus])) for corpus in group]
        rows.append(Row(name, "all", "all", values(group)))
    return rows


def _corpora_table(corpora: Sequence[CorpusInventory], licences: Mapping[str, str]) -> Table:
    def values(group: Sequence[CorpusInventory]) -> dict[str, Value]:
        records = sum(corpus.all_records for corpus in group)
        tokens = sum(corpus.all_tokens for corpus in group)
        single = group[0] if len(group) == 1 else None
        licence = "generated text" if single and single.obtained == GENERATED else ""
        return {
            "formatted": _count(sum(corpus.formatted for corpus in group)),
            **{split: _count(sum(corpus.records(split) for corpus in group)) for split in VIEW_SPLITS},
            # ELI5 alone has it.
            "validation2": _count(sum(corpus.records("validation2") for corpus in group) or None),
            "records": _count(records),
            "tokens": _count(tokens),
            "mean_tokens": Value(tokens / records if records else None),
            "licence": Value(
                text=licence or (licences.get(single.dataset, "–") if single else "–"), tone="soft"
            ),
        }

    columns = [
        Column("formatted", "Formatted", digits=0),
        *(Column(split, split, digits=0) for split in VIEW_SPLITS),
        Column("validation2", "validation2", digits=0),
        Column("records", "Records", digits=0),
        Column("tokens", "Answer tokens", digits=0),
        Column("mean_tokens", "Tokens an answer", digits=1),
        Column("licence", "Licence", words=True),
    ]
    return Table(
        "corpora",
        "Records after deduplication",
        columns,
        _rows_by_language(corpora, values),
        stub="Corpus",
        group="Language",
        notes=["Formatted: before deduplication, all splits. Tokens are those of the human answers."],
    )


def _published_table(corpora: Sequence[CorpusInventory], published: Mapping[str, PublishedCounts]) -> Table:
    def values(group: Sequence[CorpusInventory]) -> dict[str, Value]:
        cells: dict[str, Value] = {}
        known = [published[corpus.dataset] for corpus in group if corpus.dataset in published]
        for split in VIEW_SPLITS:
            here = sum(corpus.records(split) for corpus in group)
            counts = [counts.splits[split] for counts in known if counts.splits[split] is not None]
            there = sum(counts) if counts else None
            cells[split] = _count(here)
            cells[f"published_{split}"] = _count(there)
            cells[f"difference_{split}"] = _count(None if there is None else here - there)
        if len(group) == 1:
            word = count_verdict(group[0], published.get(group[0].dataset))
            cells["verdict"] = Value(text=word, tone=_TONES.get(word, "soft"))
        else:
            cells["verdict"] = Value(text="–", tone="soft")
        return cells

    columns = []
    for split in VIEW_SPLITS:
        columns += [
            Column(split, split, digits=0),
            Column(f"published_{split}", "published", digits=0, detail=split),
            Column(f"difference_{split}", "difference", digits=0, detail=split, signed=True),
        ]
    return Table(
        "published",
        "Beside the published inventory",
        [*columns, Column("verdict", "Verdict", words=True)],
        _rows_by_language(corpora, values),
        stub="Corpus",
        group="Language",
        notes=[
            f"Published counts: {CITATION}, after normalization and deduplication.",
            f"Close: every split within {CLOSE:.0%} or {FEW} records.",
            f"Part of it: no split is larger, and less than {PART:.0%} of the records are there.",
            *_published_test_notes(published),
        ],
    )


def _published_test_notes(published: Mapping[str, PublishedCounts]) -> list[str]:
    """What the published counts of the test splits add up to, where reports were on another number of rows."""
    notes = []
    for language, rows in TEST_ROWS.items():
        total = sum(
            counts.splits["test"] or 0 for counts in published.values() if counts.language == language
        )
        if total != rows:
            notes.append(
                f"The published {language_name(language)} test counts add up to {total:,}, but the published reports "
                f"are on {rows:,} rows."
            )
    return notes


def _bucket_table(corpora: Sequence[CorpusInventory]) -> Table:
    rows = []
    for language in dict.fromkeys(corpus.language for corpus in corpora):
        group = [corpus for corpus in corpora if corpus.language == language]
        for bucket in sorted({name for corpus in group for name in _buckets(corpus)}, key=bucket_order):
            counts = {
                split: sum(corpus.splits[split].buckets.get(bucket, 0) for corpus in group)
                for split in VIEW_SPLITS
            }
            tokens = sum(
                corpus.splits[split].bucket_tokens.get(bucket, 0) for corpus in group for split in VIEW_SPLITS
            )
            records = sum(counts.values())
            sources = [corpus.dataset for corpus in group if bucket in _buckets(corpus)]
            values = {split: _count(count) for split, count in counts.items()}
            values |= {
                "records": _count(records),
                "share": Value(100 * records / max(1, sum(map(_merged_records, group)))),
                "mean_tokens": Value(tokens / records if records else None),
                "sources": Value(text=", ".join(sources), tone="soft"),
            }
            rows.append(Row(language_name(language), bucket, bucket_label(bucket), values))
    columns = [
        *(Column(split, split, digits=0) for split in VIEW_SPLITS),
        Column("records", "Records", digits=0),
        Column("share", "Share, %", digits=2),
        Column("mean_tokens", "Tokens an answer", digits=1),
        Column("sources", "Corpora", words=True),
    ]
    return Table("buckets", "Buckets", columns, rows, stub="Bucket", group="Language")


def _buckets(corpus: CorpusInventory) -> set[str]:
    return {bucket for split in VIEW_SPLITS for bucket in corpus.splits[split].buckets}


def _merged_records(corpus: CorpusInventory) -> int:
    return sum(corpus.records(split) for split in VIEW_SPLITS)


def _removed_table(corpora: Sequence[CorpusInventory], reasons: Mapping[str, Mapping[str, str]]) -> Table:
    rows = []
    for corpus in corpora:
        why = {**reasons.get(corpus.dataset, {}), **_DUPLICATES}
        removed = [("formatting", cause, count) for cause, count in corpus.dropped.items()]
        removed += [("deduplication", cause, count) for cause, count in corpus.duplicates.items()]
        for step, cause, count in removed:
            values = {
                "step": Value(text=step),
                "cause": Value(text=cause.replace("_", " ")),
                "rows": _count(count),
                "why": Value(text=why.get(cause, "–"), tone="soft"),
            }
            rows.append(
                Row(language_name(corpus.language), f"{corpus.dataset}/{cause}", corpus.dataset, values)
            )
    columns = [
        Column("step", "Step", words=True),
        Column("cause", "Cause", words=True),
        Column("rows", "Rows", digits=0),
        Column("why", "Why", words=True),
    ]
    notes = [] if rows else ["Nothing was left out."]
    return Table("removed", "Left out, by cause", columns, rows, stub="Corpus", group="Language", notes=notes)


def inventory_page(
    corpora: Sequence[CorpusInventory],
    licences: Mapping[str, str],
    reasons: Mapping[str, Mapping[str, str]],
    scope: str,
    published: Mapping[str, PublishedCounts] | None = None,
) -> Page:
    """The whole page.

    Args:
        licences: of each corpus.
        reasons: {corpus: {cause: why such rows are left out}}.
        scope: version of the scope that the run is under, in words.
    """
    published = published_inventory() if published is None else published
    return Page(
        "inventory",
        "Inventory of the corpora",
        ALL_LANGUAGES,
        [
            _corpora_table(corpora, licences),
            _published_table(corpora, published),
            _bucket_table(corpora),
            _removed_table(corpora, reasons),
        ],
        lead="What each corpus holds after formatting and deduplication, and what was left out on the way.",
        notes=[f"{scope}: docs/scope.md says what is used for what, and why the rest is not."],
    )


def build_inventory(
    corpora: Sequence[CorpusInventory],
    out_dir: StrPath,
    *,
    licences: Mapping[str, str],
    reasons: Mapping[str, Mapping[str, str]],
    scope: str,
) -> dict[str, Any]:
    """Write inventory.md, .html, .tex, .csv, .png and .pdf; returns counts and verdicts for the manifest."""
    page, out = inventory_page(corpora, licences, reasons, scope), Path(out_dir)
    figure = out / f"{page.file_name}.png"
    draw_inventory(corpora, figure, figure.with_suffix(".pdf"))
    write_page(page, out, {"Records by bucket and split, and lengths of the answers by corpus": figure})
    published = published_inventory()
    return {
        "scope": scope,
        "corpora": {
            corpus.dataset: {
                "records": {split: counts.records for split, counts in corpus.splits.items()},
                "tokens": corpus.all_tokens,
                "verdict": count_verdict(corpus, published.get(corpus.dataset)),
            }
            for corpus in corpora
        },
    }
