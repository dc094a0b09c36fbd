"""Commands of the blind human evaluation: human-eval build, human-eval summarize."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

import typer

from polyalign.cli.app import Folder, Language, app, named_files, say

# Heavy imports stand inside the commands that need them, so that --help answers at once.

human_eval = typer.Typer(help="Blind human evaluation: build its pages, summarize what annotators exported.")
app.add_typer(human_eval, name="human-eval")
# A list of Literals is beyond typer.
PageMode = StrEnum("PageMode", ["single", "pairwise"])


@human_eval.command()
def build(
    records: Annotated[Path, typer.Option(help="Records of the split, Parquet or JSONL.")],
    predictions: Annotated[
        list[str], typer.Option(help="NAME=FILE: a system's predictions, JSONL; repeat for several.")
    ],
    language: Annotated[Language, typer.Option(help="Language of the records.")],
    out: Folder,
    mode: Annotated[
        list[PageMode] | None, typer.Option(help="Page to build; repeat for both. None: both.")
    ] = None,
    prompts: Annotated[int, typer.Option(min=1, help="Prompts drawn of each length bin.")] = 10,
    answers: Annotated[int | None, typer.Option(min=1, help="Answers scored a prompt; none: all.")] = None,
    pairs: Annotated[int, typer.Option(min=1, help="Pairs compared a prompt.")] = 10,
    reference: Annotated[
        Literal["shown", "answer", "none"],
        typer.Option(help="Show the human answer, have it judged blind, or leave it out."),
    ] = "shown",
    seed: Annotated[int, typer.Option(help="Seed of the draw and the blinding.")] = 42,
) -> None:
    """Write site/{mode}.html for annotators, and sample.jsonl and key.json for yourself."""
    from polyalign.human_eval.build import build_sites

    settings = {
        "modes": [each.value for each in mode or list(PageMode)],
        "prompts_per_length_bin": prompts,
        "answers_per_prompt": answers,
        "pairs_per_prompt": pairs,
        "reference": reference,
        "seed": seed,
    }
    files = named_files(predictions)
    details = build_sites(records, files, out, language=language, settings=settings)
    for name, site in details["sites"].items():
        say(f"{name}: {site['items']} items of {details['prompts']} prompts -> {out}/site/{name}.html")
    say(f"key, not for annotators -> {out}/key.json")


@human_eval.command()
def summarize(
    exports: Annotated[list[Path], typer.Argument(help="Files that annotators exported from the pages.")],
    key: Annotated[Path, typer.Option(help="key.json of the build.")],
    out: Folder,
    metrics: Annotated[
        list[Path] | None, typer.Option(help="Evaluation reports of the systems, for correlations; repeat.")
    ] = None,
    judges: Annotated[
        list[Path] | None, typer.Option(help="Summaries of judges, for correlations; repeat.")
    ] = None,
    bootstrap: Annotated[int, typer.Option(min=0, help="Bootstrap replicates; 0: no intervals.")] = 1000,
    seed: Annotated[int, typer.Option(help="Seed of the bootstrap.")] = 42,
) -> None:
    """Join exports with the key: means, win rates, strengths and agreement, as JSON and tables."""
    from polyalign.human_eval.summary import summarize as summarize_files

    details = summarize_files(
        exports, key, out, metrics=metrics or [], judges=judges or [], bootstrap=bootstrap, seed=seed
    )
    say(f"{details['ratings']} ratings of {details['annotators']} annotators -> {out}")
