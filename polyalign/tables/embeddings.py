"""The page of the embedding analysis: how far each system's answers are from the human ones, overall and by bucket.

    build_embeddings(summary, "results/tables", models=["tiny"])

takes a summary as `polyalign.embeddings.summary` makes it. What the figures mean: docs/embeddings.md.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from polyalign.files import StrPath
from polyalign.tables.html import write_page
from polyalign.tables.model import Column, Page, Row, Table, Value
from polyalign.tables.names import bucket_label, bucket_order, in_table_order, language_name, names_of

COLUMNS = (
    Column("auc", "Classifier AUC", -1),
    Column("energy", "Energy distance", -1),
    Column("energy_p", "p", 0),
    Column("frechet", "Fréchet distance", -1),
    Column("frechet_chance", "Fréchet by chance", 0),
    Column("mean_shift", "Shift of the mean", -1),
    Column("spread_ratio", "Spread over human", 0),
    Column("empty", "Empty", 0, 0),
    Column("cut", "Cut", 0, 0),
)
BY_BUCKET = ("auc", "energy", "frechet")


def build_embeddings(
    summary: Mapping[str, Any], out_dir: StrPath, *, models: Sequence[str] = ()
) -> dict[str, Any]:
    """Write `embeddings_{language}` as HTML, Markdown, LaTeX and CSV.

    Args:
        models: order of the models.

    Returns:
        Language, systems, rows in common and files, for the manifest.
    """
    page = embeddings_page(summary, models)
    paths = write_page(page, Path(out_dir))
    return {
        "language": summary["language"],
        "systems": in_table_order(list(summary["systems"]), models),
        "common_rows": summary["common_rows"],
        "files": [str(path) for path in paths],
    }


def embeddings_page(summary: Mapping[str, Any], models: Sequence[str] = ()) -> Page:
    """A table of all figures, and one by bucket for each of the three distances."""
    systems = in_table_order(list(summary["systems"]), models)
    language = summary["language"]
    tables = [_overall(summary, systems)]
    tables += [_by_bucket(summary, systems, key) for key in BY_BUCKET if summary["buckets"]]
    return Page(
        "embeddings",
        f"{language_name(language)}: human and model answers as vectors",
        language,
        tables,
        lead=(
            "How far each system's answers lie from the human answers to the same questions, as an encoder sees them: "
            "a classifier that cannot tell the two apart has AUC 0.5, and answers drawn as people draw them have "
            "distance 0."
        ),
        notes=_notes(summary),
    )


def _value(figures: Mapping[str, Any], key: str) -> Value:
    return Value(figures.get(key), figures.get(f"{key}_low"), figures.get(f"{key}_high"))


def _overall(summary: Mapping[str, Any], systems: Sequence[str]) -> Table:
    columns = [column for column in COLUMNS if column.key != "energy_p" or summary["permutations"]]
    rows = []
    for system in systems:
        found = summary["systems"][system]
        figures = {**found["overall"], **{key: found["counts"][key] for key in ("empty", "cut")}}
        rows.append(Row(*names_of(system), {column.key: _value(figures, column.key) for column in columns}))
    human = summary["human"]["counts"]
    notes = [
        f"{summary['common_rows']:,} of {human['rows']:,} rows are answered by humans and by every system.",
        (
            f"Empty and cut count all of a system's {human['rows']:,} rows; of the human answers {human['empty']:,} "
            f"are empty and {human['cut']:,} were cut at {summary['encoder']['max_length']:,} tokens."
        ),
    ]
    return Table("overall", "All rows", columns, rows, notes=notes)


def _by_bucket(summary: Mapping[str, Any], systems: Sequence[str], key: str) -> Table:
    (metric,) = [column for column in COLUMNS if column.key == key]
    buckets = sorted(summary["buckets"], key=bucket_order)
    columns = [
        Column(
            bucket,
            bucket_label(bucket),
            metric.direction,
            metric.digits,
            f"{summary['buckets'][bucket]:,} rows",
            show_arrow=False,
        )
        for bucket in buckets
    ]
    rows = []
    for system in systems:
        parts = summary["systems"][system]["by_bucket"]
        rows.append(Row(*names_of(system), {bucket: _value(parts[bucket], key) for bucket in buckets}))
    notes = []
    if key == "frechet":
        notes = ["With few rows this distance is large by chance alone; compare systems, not buckets."]
    return Table(f"{key}_by_bucket", f"{metric.header} by bucket {metric.arrow}", columns, rows, notes=notes)


def encoder_words(encoder: Mapping[str, Any]) -> str:
    """The encoder in one sentence: what it is, where it comes from, how it was used."""
    name = encoder.get("hub") or encoder["model"]
    revision = encoder.get("commit") or encoder.get("revision")
    origin = f" at {revision}" if revision and encoder.get("hub") else ""
    origin += f", built {encoder['built']}" if encoder.get("built") else ""
    prefix = f", each text after {encoder['prefix']!r}" if encoder["prefix"] else ""
    length = "scaled to length 1" if encoder["normalize"] else "not scaled"
    return (
        f"Encoder: {name}{origin} (digest {encoder['digest'][:12]}), {encoder['vector']}, {encoder['dtype']}, "
        f"{encoder['dim']} dimensions, {length}{prefix}."
    )


def _notes(summary: Mapping[str, Any]) -> list[str]:
    space, intervals = summary["space"], summary["intervals"]
    notes = [
        encoder_words(summary["encoder"]),
        (
            f"Distances are taken on {space['components']} principal components with {space['explained']:.1%} of the "
            "variance; their unit is the spread of the human answers."
        ),
        (
            f"The classifier is logistic, on the vectors and their squares, in {summary['folds']} folds that keep both "
            "answers to a question together."
        ),
    ]
    if intervals["replicates"]:
        notes.append(
            f"Brackets: {intervals['confidence']:.0%} bootstrap intervals ({intervals['replicates']:,} replicates by "
            "bucket; a row's human and model answer are drawn together)."
        )
    if summary["permutations"]:
        notes.append(
            f"p: share of {summary['permutations']:,} random exchanges of human and model answers whose energy "
            "distance is as large."
        )
    if summary["small_buckets"]:
        small = ", ".join(
            f"{bucket_label(name)} ({size})" for name, size in sorted(summary["small_buckets"].items())
        )
        notes.append(f"Too few rows for figures of their own: {small}.")
    return notes
