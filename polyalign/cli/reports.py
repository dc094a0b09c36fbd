"""Commands that judge answers: evaluate, tables, audit, detect."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Literal

import typer

from polyalign.cli.app import FeatureSet, Folder, LanguageModel, app, say
from polyalign.errors import BadInput

# Heavy imports stand inside the commands that need them, so that --help answers at once.


@app.command()
def evaluate(
    records: Annotated[Path, typer.Option(help="Records of the split, Parquet or JSONL.")],
    predictions: Annotated[Path, typer.Option(help="JSONL of source_index and prediction.")],
    out: Annotated[Path, typer.Option(help="Report, JSON.")],
    references_file: Annotated[
        Path | None, typer.Option("--references", help="bucket_references.json; none: no BNG and HCR.")
    ] = None,
    human_features: Annotated[Path | None, typer.Option(help="Features of the human answers.")] = None,
    prediction_features: Annotated[Path | None, typer.Option(help="Features of the predictions.")] = None,
    feature_set: Annotated[
        FeatureSet | None, typer.Option("--set", help="Compute the features that are not given.")
    ] = None,
    lm: LanguageModel = None,
    mauve_model: Annotated[
        Path | None, typer.Option(help="Causal model folder that embeds texts for MAUVE.")
    ] = None,
    no_mauve: Annotated[bool, typer.Option("--no-mauve", help="Leave MAUVE out.")] = False,
    bootstrap: Annotated[int, typer.Option(help="Bootstrap replicates; 0: no intervals.")] = 1000,
    common_rows: Annotated[
        list[Path] | None,
        typer.Option(help="Further predictions: evaluate only rows that all of them answer."),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the run, to tell runs of a cell apart.")] = None,
    threads: Annotated[int, typer.Option(help="Threads of the bootstrap.")] = 2,
) -> None:
    """Evaluate predictions from anywhere: utility, diversity, naturalness, with intervals."""
    from polyalign.metrics.evaluate import evaluate as evaluate_files

    if mauve_model is not None and no_mauve:
        raise BadInput("--mauve-model and --no-mauve exclude each other", fix="leave one of them out")
    if mauve_model is None and not no_mauve:
        say("no --mauve-model given: MAUVE is null in the report")
    made_human, made_predicted = "human.parquet", "predictions.parquet"
    with (
        TemporaryDirectory() as folder,
        _telling({f"{folder}/{made_human}": records, f"{folder}/{made_predicted}": predictions}),
    ):
        human, predicted = human_features, prediction_features
        if feature_set is not None:
            human = human or _describe(records, Path(folder, made_human), feature_set, lm)
            predicted = predicted or _describe(
                records, Path(folder, made_predicted), feature_set, lm, predictions
            )
        report = evaluate_files(
            records,
            predictions,
            references_file,
            human,
            predicted,
            settings={"bootstrap": bootstrap},
            mauve_model_dir=mauve_model,
            # Where `tables` looks for them.
            replicates_path=out.with_name(f"{out.stem}_bootstrap.parquet") if bootstrap else None,
            common_with=common_rows or [],
            seed=seed,
            threads=threads,
        )
    report.save(out)
    say(f"report -> {out}")


@contextmanager
def _telling(answers: Mapping[str, Path]) -> Iterator[None]:
    """Let errors about features made for one evaluation name the answers they are of, not a file that is gone."""
    try:
        yield
    except BadInput as error:
        line = str(error)
        for features, file in answers.items():
            line = line.replace(features, f"features of {file}")
        raise BadInput(line) from error


def _describe(
    records: Path, out: Path, feature_set: FeatureSet, lm: Path | None, predictions: Path | None = None
) -> Path:
    """Features of a file's answers, for an evaluation that was given none."""
    from polyalign.features.files import describe_file

    describe_file(records, out, feature_set=feature_set, lm=lm, predictions=predictions)
    return out


@app.command()
def tables(
    metrics: Annotated[
        list[Path], typer.Option(help="Reports of `evaluate` or the workflow; repeat for several.")
    ],
    out: Folder,
    common_rows: Annotated[
        bool,
        typer.Option("--common-rows", help="Evaluate every cell again on the rows that all of them answer."),
    ] = False,
    mauve_model: Annotated[
        Path | None, typer.Option(help="With --common-rows: model folder that embeds texts for MAUVE.")
    ] = None,
) -> None:
    """Build tables and figures of the methods, a set a language, from reports of comparable cells."""
    from polyalign.tables.build import build_all
    from polyalign.tables.common_rows import evaluate_on_common_rows

    if common_rows:
        metrics = evaluate_on_common_rows(metrics, out / "common_rows", mauve_model_dir=mauve_model)
    for details in build_all(metrics, out):
        say(f"{details['language']}: {len(details['cells'])} cells -> {out}")


@app.command()
def audit(
    reports: Annotated[
        list[Path] | None, typer.Argument(help="Reports: ours, or in the published layout.")
    ] = None,
    published: Annotated[
        bool, typer.Option("--published", help="Audit the paper's published figures.")
    ] = False,
    form: Annotated[
        Literal["text", "markdown", "json"], typer.Option("--format", help="Form of the output.")
    ] = "text",
    least: Annotated[
        Literal["error", "warning", "note"], typer.Option(help="Least severity shown as text.")
    ] = "note",
    out: Annotated[Path | None, typer.Option(help="File to write instead of standard output.")] = None,
) -> None:
    """Say in sentences what to distrust in reports. Exit code 1 where there is an error to tell, 2 for bad input."""
    from polyalign.audit.run import audit_files, audit_published, has_errors, render
    from polyalign.files import write_text

    if not reports and not published:
        raise BadInput("nothing to audit", fix="name reports, or give --published")
    audited = audit_files(reports or []) + (audit_published() if published else [])
    text = render(audited, form, least)
    if out is None:
        print(text, end="")
    else:
        write_text(out, text)
        say(f"{len(audited)} subjects -> {out}")
    if has_errors(audited):
        raise typer.Exit(1)


@app.command()
def detect(
    detector: Annotated[
        str, typer.Option(help="fast_detectgpt, binoculars, radar or detectgpt.", metavar="NAME")
    ],
    models: Annotated[
        list[Path],
        typer.Option(
            "--model",
            help="Model folders: sampler and scorer; observer and performer; classifier; scorer and filler.",
        ),
    ],
    out: Annotated[Path, typer.Option(help="JSONL of scores and decisions.")],
    predictions: Annotated[
        Path | None, typer.Option(help="JSONL of source_index and prediction; none: the human answers.")
    ] = None,
    records: Annotated[
        Path | None, typer.Option(help="Records of the split, for human answers and to check ids.")
    ] = None,
    long_texts: Annotated[
        Literal["windows", "error"],
        typer.Option(help="Read a long text in several windows, or leave it out."),
    ] = "windows",
    seed: Annotated[int, typer.Option(help="Seed of what DetectGPT draws.")] = 42,
) -> None:
    """Score texts with a detector of machine text: raw statistic, score, threshold and decision of each."""
    from polyalign.detection.run import detect_file

    found = detect_file(detector, models, out, predictions, records, long_texts=long_texts, seed=seed)
    say(f"{found} -> {out}")
