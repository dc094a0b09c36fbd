"""Command line: the same functions as the workflow's rules, for data that is not from the workflow.

Every command ends bad input with one line a problem and exit code 2, and leaves nothing half-written.
"""

import sys
from enum import StrEnum
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from polyalign.errors import EXIT_CODE, BadInput, PolyAlignError
from polyalign.human_eval.commands import app as human_eval_app

# Heavy imports stand inside the commands that need them, so that --help answers at once.

app = typer.Typer(
    name="polyalign",
    help="PolyAlign: align language models to the conditional distribution of human answers.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(human_eval_app, name="human-eval")

Folder = Annotated[Path, typer.Option("--out", help="Folder to write to.")]
LanguageModel = Annotated[
    Path | None, typer.Option("--lm", help="Model folder that scores LM features; none: text features only.")
]


class Language(StrEnum):
    """Languages of the corpora."""

    en = "en"
    zh = "zh"


class NearMode(StrEnum):
    """What is done about near-duplicates."""

    none = "none"
    report = "report"
    remove = "remove"


class FeatureSet(StrEnum):
    """Feature sets; never compared with each other."""

    paper = "paper-v1"
    core = "core-v1"


class Support(StrEnum):
    """Supports of a bucket's human answers."""

    q10_q90 = "q10_q90"
    q25_q75 = "q25_q75"


def _say(text: str) -> None:
    print(text, file=sys.stderr)


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
    _say(f"{dataset}: {counts} -> {out}")


@app.command()
def dedup(
    source: Annotated[Path, typer.Option("--in", help="Tree {dataset}/{split}.jsonl of formatted records.")],
    out: Folder,
    report: Annotated[Path, typer.Option(help="JSON report of what was removed, by cause.")],
    near: Annotated[NearMode, typer.Option(help="Look for near-duplicates too.")] = NearMode.none,
    near_threshold: Annotated[
        float, typer.Option(min=0.05, max=1, help="Least similarity of a near-duplicate.")
    ] = 0.8,
    near_report: Annotated[
        Path | None,
        typer.Option(help="Report of near-duplicates; by default beside the report, `_near` added."),
    ] = None,
) -> None:
    """Remove exact duplicates and group conflicts, evaluation splits first; near-duplicates where asked for."""
    from polyalign.dedup_tree import dedup_tree
    from polyalign.shingles import NearDuplicates
    from polyalign.throughput import usable_cores

    counts = dedup_tree(
        source,
        out,
        report,
        near=NearDuplicates(mode=near.value, threshold=near_threshold),
        near_report_path=near_report,
        processes=usable_cores(),
    )["counts"]
    _say(f"{counts['original_total']:,} records, {counts['removed_total']:,} removed -> {out}, {report}")
    if near is not NearMode.none:
        _say(f"near-duplicates -> {near_report or report.with_name(f'{report.stem}_near.json')}")


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
    from polyalign.throughput import usable_cores
    from polyalign.views import export_tree_views

    details = export_tree_views(
        source, out, language.value, include_validation2=include_validation2, processes=usable_cores()
    )
    counts = ", ".join(f"{split} {value['records']:,}" for split, value in details["splits"].items())
    _say(f"{counts} -> {out}")


@app.command("check-views")
def check_views_command(
    folder: Annotated[Path, typer.Argument(help="Folder with dataset_info.json.")],
) -> None:
    """Check every item that a dataset_info.json registers against LLaMA-Factory's documented layout."""
    from polyalign.llamafactory import check_views

    for name, items in check_views(folder).items():
        _say(f"{name}: {items:,} items")


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
    workers: Annotated[int, typer.Option(help="Processes for text features.")] = 1,
) -> None:
    """Describe answers by text features and, with --lm, language-model features."""
    from polyalign.features.files import describe_file

    rows = describe_file(
        records,
        out,
        feature_set=feature_set.value,
        field=field,
        lm=lm,
        predictions=predictions,
        workers=workers,
    )
    _say(f"{rows:,} rows -> {out}")


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
    _say(", ".join(f"{name} ({found['obtained']})" for name, found in packages.items()) + f" -> {out}")


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
    _say(f"{details['buckets']} buckets of {details['rows']:,} answers -> {out}")


@app.command("critic-targets")
def critic_targets(
    records: Annotated[Path, typer.Option(help="Records, Parquet or JSONL.")],
    feature_file: Annotated[Path, typer.Option("--features", help="Features of one answer to each record.")],
    references_file: Annotated[Path, typer.Option("--references", help="bucket_references.json.")],
    out: Annotated[Path, typer.Option(help="JSONL of source_index, id, bucket_id and target.")],
    support: Annotated[Support, typer.Option(help="Support of a bucket's human answers.")] = Support.q10_q90,
    published: Annotated[
        bool, typer.Option("--published", help="The published form: near-constant features count, unbounded.")
    ] = False,
) -> None:
    """Distance of each answer to human support, which the critic learns."""
    from polyalign.critic.targets import write_targets

    form = "published" if published else "corrected"
    rows, without = write_targets(
        records, feature_file, references_file, out, support=support.value, form=form
    )
    _say(f"{rows:,} rows, {without:,} of them in buckets without reference -> {out}")


@app.command()
def evaluate(
    records: Annotated[Path, typer.Option(help="Records of the split, Parquet or JSONL.")],
    predictions: Annotated[Path, typer.Option(help="JSONL of source_index and prediction.")],
    references_file: Annotated[Path, typer.Option("--references", help="bucket_references.json.")],
    out: Annotated[Path, typer.Option(help="Report, JSON.")],
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
        _say("no --mauve-model given: MAUVE is null in the report")
    with TemporaryDirectory() as folder:
        human, predicted = human_features, prediction_features
        if feature_set is not None:
            human = human or _describe(records, Path(folder) / "human.parquet", feature_set, lm)
            predicted = predicted or _describe(
                records, Path(folder) / "predictions.parquet", feature_set, lm, predictions
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
    _say(f"report -> {out}")


def _describe(
    records: Path, out: Path, feature_set: FeatureSet, lm: Path | None, predictions: Path | None = None
) -> Path:
    """Features of a file's answers, for an evaluation that was given none."""
    from polyalign.features.files import describe_file

    describe_file(records, out, feature_set=feature_set.value, lm=lm, predictions=predictions)
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
        _say(f"{details['language']}: {len(details['cells'])} cells -> {out}")


class Severity(StrEnum):
    """Severities of findings, and `never` for an exit code that does not look at them."""

    error = "error"
    warning = "warning"
    note = "note"


class AuditFormat(StrEnum):
    """How an audit is written."""

    text = "text"
    markdown = "markdown"
    json = "json"


@app.command()
def audit(
    reports: Annotated[
        list[Path] | None, typer.Argument(help="Reports: ours, or in the published layout.")
    ] = None,
    published: Annotated[
        bool, typer.Option("--published", help="Audit the paper's published figures.")
    ] = False,
    form: Annotated[AuditFormat, typer.Option("--format", help="Form of the output.")] = AuditFormat.text,
    least: Annotated[Severity, typer.Option(help="Least severity shown as text.")] = Severity.note,
    out: Annotated[Path | None, typer.Option(help="File to write instead of standard output.")] = None,
) -> None:
    """Say in sentences what to distrust in reports. Exit code 1 where there is an error to tell, 2 for bad input."""
    from polyalign.audit.run import audit_files, audit_published, has_errors, render
    from polyalign.files import write_text

    if not reports and not published:
        raise BadInput("nothing to audit", fix="name reports, or give --published")
    audited = audit_files(reports or []) + (audit_published() if published else [])
    text = render(audited, form.value, least.value)
    if out is None:
        print(text, end="")
    else:
        write_text(out, text)
        _say(f"{len(audited)} subjects -> {out}")
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
        str, typer.Option(help="windows: read a long text in several; error: leave it out.", metavar="HOW")
    ] = "windows",
    seed: Annotated[int, typer.Option(help="Seed of what DetectGPT draws.")] = 42,
) -> None:
    """Score texts with a detector of machine text: raw statistic, score, threshold and decision of each."""
    from polyalign.detection.run import detect_file

    found = detect_file(detector, models, out, predictions, records, long_texts=long_texts, seed=seed)
    _say(f"{found} -> {out}")


@app.command()
def where(
    folder: Annotated[Path, typer.Argument(help="Working directory of a run, e.g. runs/demo.")],
) -> None:
    """Show a run's tables and say where its artifacts are."""
    from polyalign.overview import overview

    print(overview(folder))


@app.command()
def status(
    configfile: Annotated[
        list[Path] | None,
        typer.Option(help="Configuration merged over config/config.yaml; repeat for several."),
    ] = None,
    directory: Annotated[Path, typer.Option(help="Working directory of the run, e.g. runs/demo.")] = Path(),
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Show which cells of the grid are fresh, stale or missing, why, and the GPU hours to bring them up to date."""
    import json

    from polyalign.digest import ROOT
    from polyalign.status import grid_status, print_status, status_values

    files = [path.resolve() for path in configfile or []]
    found = grid_status(root=ROOT, directory=directory.resolve(), configfiles=files)
    print(json.dumps(status_values(found), indent=2)) if as_json else print_status(found)


@app.command()
def provenance(
    artifact: Annotated[
        Path, typer.Argument(help="An artifact of a run, e.g. results/metrics/en_hdpo_tiny.json.")
    ],
    verify: Annotated[bool, typer.Option(help="Compare every digest with the file as it is now.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a tree.")] = False,
    crate: Annotated[
        Path | None, typer.Option(help="Also write the chain as a Workflow Run RO-Crate to this folder.")
    ] = None,
    max_megabytes: Annotated[int, typer.Option(help="Larger files are named in the crate, not copied.")] = 20,
) -> None:
    """Show the chain of manifests behind a number and verify its digests; a broken chain exits with 1."""
    import json

    from polyalign.provenance import print_trace, trace, trace_values

    root, steps = trace(artifact, verify=verify)
    print(json.dumps(trace_values(steps), indent=2)) if as_json else print_trace(steps, verified=verify)
    if crate is not None:
        from polyalign.run_crate import write_crate

        count = write_crate(crate, root, steps, max_megabytes=max_megabytes)
        _say(f"RO-Crate of {len(steps)} steps and {count} files -> {crate}")
    if any(step.problems for step in steps):
        raise typer.Exit(1)


_LIST_OPTIONS = {
    "human-eval": ("--predictions", "--mode", "--metrics"),
    "detect": ("--model",),
    "status": ("--configfile",),
    "evaluate": ("--common-rows",),
    "tables": ("--metrics",),
    "references": ("--records", "--features"),
}


def _with_repeated_options(arguments: list[str]) -> list[str]:
    """Let list options take several values at once: `--metrics a b` becomes `--metrics a --metrics b`."""
    listed = _LIST_OPTIONS.get(arguments[0], ()) if arguments else ()
    expanded: list[str] = []
    option: str | None = None
    for argument in arguments:
        if argument.startswith("-"):
            option = argument if argument in listed else None
        elif option is not None and expanded[-1] != option:
            expanded.append(option)
        expanded.append(argument)
    return expanded


def main() -> None:
    """Run the command line; bad input ends with its lines on standard error and exit code 2."""
    try:
        app(args=_with_repeated_options(sys.argv[1:]), prog_name="polyalign")
    except PolyAlignError as error:
        _say(str(error))
        sys.exit(EXIT_CODE)
