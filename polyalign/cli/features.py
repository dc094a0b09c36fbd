"""Commands of features and references: features, nltk-data, references, critic-targets."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from polyalign.cli.app import FeatureSet, Folder, LanguageModel, app, say

# Heavy imports stand inside the commands that need them, so that --help answers at once.


@app.command()
def features(
    records: Annotated[Path, typer.Option(help="Records, Parquet or JSONL.")],
    out: Annotated[Path, typer.Option(help="Feature file, .parquet or .jsonl.")],
    feature_set: Annotated[FeatureSet, typer.Option("--set", help="Feature set.")],
    field: Annotated[str, typer.Option(help="Field of the record that holds the answer.")] = "human_answer",
    lm: LanguageModel = None,
    predictions: Annotated[
        Path | None, typer.Option(help="Describe the answers of this file instead of the records' own.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes for text features; none: all cores.")
    ] = None,
) -> None:
    """Describe answers by text features and, with --lm, language-model features."""
    from polyalign.features.files import describe_file
    from polyalign.throughput import usable_cores

    rows = describe_file(
        records,
        out,
        feature_set=feature_set,
        field=field,
        lm=lm,
        predictions=predictions,
        workers=workers or usable_cores(),
    )
    say(f"{rows:,} rows -> {out}")


@app.command("nltk-data")
def nltk_data(
    out: Folder,
    mirror: Annotated[
        Path | None,
        typer.Option(help="Folder in NLTK's layout to copy from; none: NLTK's own folders, then download."),
    ] = None,
) -> None:
    """Get the NLTK data of paper-v1, checked by content; then set NLTK_DATA to the folder."""
    from polyalign.features.nltk_data import gather_nltk_data

    packages = gather_nltk_data(out, mirror)["packages"]
    say(", ".join(f"{name} ({found['obtained']})" for name, found in packages.items()) + f" -> {out}")


@app.command()
def references(
    records: Annotated[list[Path], typer.Option(help="Records; repeat for several files.")],
    feature_files: Annotated[
        list[Path],
        typer.Option("--features", help="Features of the human answers, in the order of --records."),
    ],
    out: Folder,
    min_bucket_size: Annotated[
        int, typer.Option(help="Smaller buckets are listed and get no reference.")
    ] = 20,
) -> None:
    """Build bucket references: what human answers of each bucket look like."""
    from polyalign.references import build_references

    details = build_references(records, feature_files, out, min_bucket_size=min_bucket_size)
    say(f"{details['buckets']} buckets of {details['rows']:,} answers -> {out}")


@app.command("critic-targets")
def critic_targets(
    records: Annotated[Path, typer.Option(help="Records, Parquet or JSONL.")],
    feature_file: Annotated[Path, typer.Option("--features", help="Features of one answer to each record.")],
    references_file: Annotated[Path, typer.Option("--references", help="bucket_references.json.")],
    out: Annotated[Path, typer.Option(help="JSONL of source_index, id, bucket_id and target.")],
    support: Annotated[
        Literal["q10_q90", "q25_q75"], typer.Option(help="Support of a bucket's human answers.")
    ] = "q10_q90",
    published: Annotated[
        bool, typer.Option("--published", help="The published form: near-constant features count, unbounded.")
    ] = False,
) -> None:
    """Distance of each answer to human support, which the critic learns."""
    from polyalign.critic.targets import write_targets

    form = "published" if published else "corrected"
    rows, without = write_targets(records, feature_file, references_file, out, support=support, form=form)
    say(f"{rows:,} rows, {without:,} of them in buckets without reference -> {out}")
