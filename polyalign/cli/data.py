"""Commands of the data stage: format, dedup, views, check-views."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from polyalign.cli.app import Folder, Language, app, say

# Heavy imports stand inside the commands that need them, so that --help answers at once.


@app.command("format")
def format_command(
    dataset: Annotated[str, typer.Argument(help="Corpus, e.g. dolly; a wrong name lists them all.")],
    source: Annotated[Path, typer.Option(help="Folder of raw files in the corpus' official layout.")],
    out: Folder,
    seed: Annotated[int, typer.Option(help="Seed of the hashed splits.")] = 42,
    published: Annotated[
        bool, typer.Option("--published", help="Reproduce known bugs of the published formatter.")
    ] = False,
) -> None:
    """Normalize one corpus: {split}.jsonl and manifest.json."""
    from polyalign.corpora.formatting import format_corpus
    from polyalign.manifest import write_manifest

    params = {"seed": seed, "published_quirks": published}
    details = format_corpus(dataset, source, out, seed=seed, published_quirks=published, suffix=".jsonl")
    outputs = [out / f"{split}.jsonl" for split in details["split_counts"]]
    inputs = sorted(path for path in source.rglob("*") if path.is_file())
    write_manifest(
        out / "manifest.json", step="format", inputs=inputs, outputs=outputs, params=params, details=details
    )
    counts = ", ".join(f"{split} {count:,}" for split, count in details["split_counts"].items())
    say(f"{dataset}: {counts} -> {out}")


@app.command()
def dedup(
    source: Annotated[Path, typer.Option("--in", help="Tree {dataset}/{split}.jsonl of formatted records.")],
    out: Folder,
    report: Annotated[Path, typer.Option(help="JSON report of what was removed, by cause.")],
    near: Annotated[
        Literal["none", "report", "remove"], typer.Option(help="Look for near-duplicates too.")
    ] = "none",
    near_threshold: Annotated[
        float, typer.Option(min=0.05, max=1, help="Least similarity of a near-duplicate.")
    ] = 0.8,
    near_report: Annotated[
        Path | None,
        typer.Option(help="Report of near-duplicates; by default beside the report, `_near` added."),
    ] = None,
) -> None:
    """Remove exact duplicates and group conflicts, evaluation splits first; near-duplicates where asked for."""
    from polyalign.data.dedup_tree import dedup_tree
    from polyalign.data.shingles import NearDuplicates
    from polyalign.throughput import usable_cores

    counts = dedup_tree(
        source,
        out,
        report,
        near=NearDuplicates(mode=near, threshold=near_threshold),
        near_report_path=near_report,
        processes=usable_cores(),
    )["counts"]
    say(f"{counts['original_total']:,} records, {counts['removed_total']:,} removed -> {out}, {report}")
    if near != "none":
        say(f"near-duplicates -> {near_report or report.with_name(f'{report.stem}_near.json')}")


@app.command()
def views(
    source: Annotated[
        Path, typer.Option("--in", help="Tree {dataset}/{split}.jsonl of (deduplicated) records.")
    ],
    out: Folder,
    language: Annotated[Language, typer.Option(help="Language of the views.")],
    include_validation2: Annotated[
        bool, typer.Option("--include-validation2", help="Export ELI5's auxiliary split, too.")
    ] = False,
) -> None:
    """Write the published JSONL and LLaMA-Factory's files, Bucket-SFT weights included."""
    from polyalign.data.views import export_tree_views
    from polyalign.throughput import usable_cores

    details = export_tree_views(
        source, out, language, include_validation2=include_validation2, threads=usable_cores()
    )
    counts = ", ".join(f"{split} {value['records']:,}" for split, value in details["splits"].items())
    say(f"{counts} -> {out}")


@app.command("check-views")
def check_views_command(
    folder: Annotated[Path, typer.Argument(help="Folder with dataset_info.json.")],
) -> None:
    """Check every item that a dataset_info.json registers against LLaMA-Factory's documented layout."""
    from polyalign.data.llamafactory import check_views

    for name, items in check_views(folder).items():
        say(f"{name}: {items:,} items")
