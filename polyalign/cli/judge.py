"""The command judge: answers from anywhere, graded by a language model with the project's rubric."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from polyalign.cli.app import app, say
from polyalign.errors import BadInput

# Heavy imports stand inside the command that needs them, so that --help answers at once.


@app.command()
def judge(
    model: Annotated[
        Path, typer.Option("--model", help="Folder of the judge: model, tokenizer, chat template.")
    ],
    records: Annotated[Path, typer.Option(help="Records of the split, Parquet or JSONL.")],
    predictions: Annotated[Path, typer.Option(help="JSONL of source_index, id and prediction.")],
    out: Annotated[Path, typer.Option(help="JSONL of scores and composites, a line a row.")],
    summary: Annotated[Path | None, typer.Option(help="Also write means with intervals, JSON.")] = None,
    probes: Annotated[
        Path | None,
        typer.Option(help="Ask some rows again, in other ways, and write these judgements there."),
    ] = None,
    probed_rows: Annotated[int, typer.Option(min=1, help="Rows that --probes asks again.")] = 200,
    rows: Annotated[int | None, typer.Option(min=1, help="Judge a draw of so many rows; none: all.")] = None,
    engine: Annotated[
        Literal["transformers", "vllm", "openai"], typer.Option(help="Engine that generates the replies.")
    ] = "transformers",
    base_url: Annotated[
        str | None, typer.Option(help="With --engine openai: the server, such as http://localhost:8000/v1.")
    ] = None,
    bootstrap: Annotated[int, typer.Option(min=0, help="Replicates of the intervals; 0: none.")] = 1000,
    seed: Annotated[int, typer.Option(help="Seed of the draw and of the intervals.")] = 42,
) -> None:
    """Grade answers by the rubric: eight scores with their caps, four composites, or why a row has none."""
    from polyalign.files import write_json
    from polyalign.judge.rubric import load_rubric
    from polyalign.judge.run import judge_file
    from polyalign.judge.settings import Judges
    from polyalign.judge.summary import summarize

    if base_url is not None and engine != "openai":
        raise BadInput("--base-url is for --engine openai", fix="add --engine openai, or leave it out")
    found = judge_file(
        model,
        records,
        predictions,
        out,
        probes=probes,
        engine={"engine": engine, "openai": {"base_url": base_url}},
        settings={"rows": rows, "probed_rows": probed_rows},
        seed=seed,
    )
    errors = "".join(f", {count:,} {reason.replace('_', ' ')}" for reason, count in found["errors"].items())
    say(f"{found['scored']:,} of {found['rows']:,} rows scored{errors} -> {out}")
    if summary is not None:
        settings = Judges(bootstrap=bootstrap)
        (figures,) = summarize({model.name: {out.stem: (out, probes)}}, None, settings, seed)[0].values()
        write_json(summary, figures)
        means = figures["cells"][out.stem]["means"]
        told = ", ".join(
            f"{name.replace('_', ' ')} {means[name]['estimate']:.1f}" for name in load_rubric().composites
        )
        say(f"{told} -> {summary}")
