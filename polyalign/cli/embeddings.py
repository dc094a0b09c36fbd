"""Command of the embedding analysis: embeddings."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from polyalign.cli.app import Folder, app, named_files, say

# Heavy imports stand inside the commands that need them, so that --help answers at once.


class ProjectionOption(StrEnum):
    """Pictures that can be drawn."""

    pca = "pca"
    tsne = "tsne"
    umap = "umap"


class KindOption(StrEnum):
    """How the encoder's folder is read."""

    pooled = "pooled"
    sentence_transformers = "sentence_transformers"


class Precision(StrEnum):
    """Precision of the encoder's weights."""

    float32 = "float32"
    bfloat16 = "bfloat16"


@app.command()
def embeddings(
    records: Annotated[Path, typer.Option(help="Records of the split, Parquet or JSONL.")],
    predictions: Annotated[
        list[str], typer.Option(help="NAME=FILE: a system's predictions, JSONL; repeat for several.")
    ],
    encoder: Annotated[Path, typer.Option(help="Model folder that turns answers into vectors.")],
    out: Folder,
    projection: Annotated[
        list[ProjectionOption] | None,
        typer.Option(help="Picture to draw; repeat for several. None: pca, tsne."),
    ] = None,
    kind: Annotated[KindOption, typer.Option(help="How the encoder's folder is read.")] = KindOption.pooled,
    prefix: Annotated[str, typer.Option(help="Text put before every answer.")] = "",
    dtype: Annotated[Precision, typer.Option(help="Precision of the encoder's weights.")] = Precision.float32,
    rows: Annotated[
        int | None, typer.Option(min=1, help="Rows that are drawn and compared; none: all.")
    ] = None,
    figure_rows: Annotated[int, typer.Option(min=1, help="Rows in the pictures.")] = 600,
    bootstrap: Annotated[int, typer.Option(min=0, help="Replicates of the intervals.")] = 1000,
    cache: Annotated[
        Path | None,
        typer.Option(help="Folder of vectors that is kept for the next call; none: nothing is kept."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of every draw.")] = 42,
) -> None:
    """Compare predictions with human answers as vectors: distances, tables, and pictures to look around in."""
    from polyalign.embeddings.run import analyze_files, told

    options = {
        "kind": kind.value,
        "prefix": prefix,
        "rows": rows,
        "figure_rows": figure_rows,
        "bootstrap": bootstrap,
        "projections": [each.value for each in projection or (ProjectionOption.pca, ProjectionOption.tsne)],
    }
    summary = analyze_files(
        records,
        named_files(predictions),
        encoder,
        out,
        options=options,
        dtype=dtype.value,
        cache_dir=cache,
        seed=seed,
    )
    for line in told(summary):
        say(line)
    say(f"{summary['common_rows']:,} rows in common -> {out}")
