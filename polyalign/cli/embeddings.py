"""Command of the embedding analysis: embeddings."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

import typer

from polyalign.cli.app import Folder, app, named_files, say

# Heavy imports stand inside the commands that need them, so that --help answers at once.

# A list of Literals is beyond typer.
Projection = StrEnum("Projection", ["pca", "tsne", "umap"])


@app.command()
def embeddings(
    records: Annotated[Path, typer.Option(help="Records of the split, Parquet or JSONL.")],
    predictions: Annotated[
        list[str], typer.Option(help="NAME=FILE: a system's predictions, JSONL; repeat for several.")
    ],
    encoder: Annotated[Path, typer.Option(help="Model folder that turns answers into vectors.")],
    out: Folder,
    projection: Annotated[
        list[Projection] | None,
        typer.Option(help="Picture to draw; repeat for several. None: pca, tsne."),
    ] = None,
    kind: Annotated[
        Literal["pooled", "sentence_transformers"], typer.Option(help="How the encoder's folder is read.")
    ] = "pooled",
    prefix: Annotated[str, typer.Option(help="Text put before every answer.")] = "",
    dtype: Annotated[
        Literal["float32", "bfloat16"], typer.Option(help="Precision of the encoder's weights.")
    ] = "float32",
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
        "kind": kind,
        "prefix": prefix,
        "rows": rows,
        "figure_rows": figure_rows,
        "bootstrap": bootstrap,
        "projections": [each.value for each in projection or (Projection.pca, Projection.tsne)],
    }
    summary = analyze_files(
        records,
        named_files(predictions),
        encoder,
        out,
        options=options,
        dtype=dtype,
        cache_dir=cache,
        seed=seed,
    )
    for line in told(summary):
        say(line)
    say(f"{summary['common_rows']:,} rows in common -> {out}")
