"""Facts from files: our reports, and reports in the layout that the PolyAlign authors published."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from polyalign.audit.facts import Bucket, Facts, Gap
from polyalign.audit.names import language_of, method_of, model_of, shows_reference
from polyalign.errors import BadInput
from polyalign.features.names import FEATURES
from polyalign.files import StrPath
from polyalign.metrics.evaluation import ceilings_of, estimates_of
from polyalign.metrics.report import KIND, Report, read_report
from polyalign.published import PublishedReport, published_buckets

_NULLABLE = ("bng", "hcr", "hcr_calibrated", "mauve", "tdm")


def read_facts(path: StrPath) -> Facts:
    """Facts of a report file, ours or published.

    Raises:
        BadInput: neither of the two.
    """
    file = Path(path)
    if not file.is_file():
        raise BadInput("file not found", file=path, fix="check the path")
    try:
        # Published reports hold NaN, so this is read more leniently than anything of ours.
        value = json.loads(file.read_text(encoding="utf-8"), parse_constant=lambda _: None)
    except ValueError as error:
        raise BadInput(f"not JSON ({error})", file=path, expected="a metric report") from None
    if isinstance(value, dict) and value.get("kind") == KIND:
        return facts_of_report(file.name, read_report(path))
    metrics = value.get("metrics") if isinstance(value, dict) else None
    if not isinstance(metrics, dict) or not {"bng", "utility"} & metrics.keys():
        raise BadInput(
            "not a metric report",
            file=path,
            expected="a report of `evaluate`, or a published one with metrics.utility or metrics.bng",
        )
    return facts_of_published_file(file.name, value)


def facts_of_report(file: str, report: Report) -> Facts:
    """Facts of a report of ours."""
    metrics, coverage = report.metrics, report.coverage
    plain = metrics.model_dump(by_alias=True)
    cell, features = report.cell, report.features
    hcr = {row.bucket_id: row.hcr for row in metrics.hcr.by_bucket}
    gap = {row.bucket_id: row.bng for row in metrics.bng.by_bucket}
    buckets = [
        Bucket(row.bucket_id, row.n_examples, gap.get(row.bucket_id), hcr.get(row.bucket_id), row.raw_em)
        for row in metrics.utility.by_bucket
    ]
    degenerate = Counter(name for names in metrics.bng_robust.degenerate_features.values() for name in names)
    reasons = {name: getattr(metrics, name).reason for name in _NULLABLE}
    return Facts(
        name=cell.name if cell else file,
        source="report",
        language=report.languages[0] if len(report.languages) == 1 else None,
        method=cell.method if cell else None,
        model=(cell.seed_of or cell.model) if cell else None,
        rows=coverage.answered,
        rows_expected=coverage.rows_expected if coverage.common_with else coverage.records,
        rows_digest=coverage.source_index_digest,
        common_with=len(coverage.common_with),
        prompt_mode=report.prompt_mode,
        oracle=report.oracle,
        scorer=features.scorer if features else None,
        n_features=features.n_features if features else None,
        values={**estimates_of(plain), "bng_weighted": metrics.bng.overall_weighted},
        ceilings=ceilings_of(plain),
        components=[name for name, part in metrics.aggregate.components.items() if part is not None],
        buckets=buckets,
        gaps=[
            Gap(
                row.feature,
                row.share,
                row.mean_gap,
                row.zero_variance_buckets == len(metrics.bng.by_bucket),
                FEATURES[row.feature].role if row.feature in FEATURES else "response",
            )
            for row in metrics.bng.contributions
        ],
        degenerate=dict(degenerate),
        empty=coverage.empty_predictions,
        cut=coverage.length_share,
        failed=coverage.error_rows,
        frontier_points=len(metrics.nuf.overall.frontier_points) or None,
        mauve_texts=metrics.mauve.n_texts,
        decoding=_decoding_but_seed(report),
        replicates=report.intervals.replicates,
        missing={name: reason for name, reason in reasons.items() if reason},
    )


def _decoding_but_seed(report: Report) -> str | None:
    """How answers were drawn; with another seed is the same way."""
    if report.decoding is None:
        return None
    return str({key: value for key, value in report.decoding.items() if key != "seed"})


def facts_of_published_file(file: str, report: Mapping[str, Any]) -> Facts:
    """Facts of a report in the published layout, which says by paths what it was made from."""
    metrics, parameters = report["metrics"], report.get("parameters") or {}
    paths = [text for text in _strings(report) if "/" in text]
    run = next((_run_of(path) for path in paths if "predictions" in path), None)
    utility = (metrics.get("utility") or {}).get("overall") or {}
    generated = ((metrics.get("diversity") or {}).get("overall") or {}).get("generated") or {}
    parts = {name: metrics.get(name) or {} for name in ("bng", "hcr", "mauve", "tdm", "nuf", "aggregate")}
    hcr = parts["hcr"].get("support_q10_q90", parts["hcr"])
    coverage = {row["bucket_id"]: row for row in hcr.get("by_bucket") or []}
    buckets = [
        Bucket(
            row["bucket_id"], row["n_examples"], row["bng"], (coverage.get(row["bucket_id"]) or {}).get("hcr")
        )
        for row in parts["bng"].get("by_bucket") or []
    ]
    languages = {bucket.bucket_id.split("|")[0] for bucket in buckets}
    frontier = parts["nuf"].get("overall") or {}
    alignment, artifacts = report.get("alignment") or {}, report.get("artifacts") or {}
    named = [file, run or "", *paths]
    return Facts(
        name=file,
        source="published report",
        language=languages.pop()
        if len(languages) == 1
        else next(filter(None, map(language_of, named)), None),
        method=method_of(file),
        model=model_of(file) or model_of(run or ""),
        rows=alignment.get("n_prediction_rows", artifacts.get("prediction_rows")),
        rows_expected=alignment.get("n_current_test_rows", alignment.get("n_test_rows")),
        run=run,
        oracle=any(map(shows_reference, filter(None, named))),
        scorer=model_of(str(parameters.get("model_alias", ""))),
        n_features=artifacts.get("shared_feature_count"),
        values={
            **{name: utility.get(name) for name in ("raw_em", "qa_em", "qa_f1", "rouge_l_f1")},
            **{
                name: generated.get(name)
                for name in ("distinct_1", "distinct_2", "distinct_3", "self_bleu_4")
            },
            "bng": parts["bng"].get("overall_macro"),
            "bng_weighted": parts["bng"].get("overall_weighted"),
            "hcr": hcr.get("overall_macro"),
            "mauve": parts["mauve"].get("global"),
            "tdm": parts["tdm"].get("overall_macro"),
            "nuf": frontier.get("hypervolume"),
            "aggregate": parts["aggregate"].get("overall"),
        },
        buckets=buckets,
        components=[k for k, v in (parts["aggregate"].get("components") or {}).items() if v is not None]
        or None,
        frontier_points=len(frontier.get("frontier_points") or []) or None,
    )


def _strings(value: Any) -> Iterator[str]:
    """Every text of a nested value but those of single rows."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, part in value.items():
            if key != "by_bucket":
                yield from _strings(part)


def _run_of(path: str) -> str:
    """The run of a path such as data/runs/NAME/predictions.jsonl."""
    parts = Path(path.replace("\\", "/")).parts
    return parts[-2] if len(parts) > 1 else parts[-1]


def facts_of_figures(report: PublishedReport) -> Facts:
    """Facts of one of the published figures that the project carries; its flags are not looked at."""
    buckets = [
        Bucket(row.bucket_id, row.rows, row.values["bng"], row.values["hcr"])
        for row in published_buckets(report.report)
    ]
    values = {**report.values, "inside_rate": report.value("mean_feature_inside_rate")}
    return Facts(
        name=report.report,
        source="published figures",
        language=report.language,
        method=report.published_as,
        model=report.model,
        rows=report.rows,
        rows_expected=report.rows_expected,
        run=report.predictions_folder,
        oracle=shows_reference(report.predictions_folder) or shows_reference(report.report),
        scorer=report.feature_scorer,
        n_features=177,
        values=values,
        components=["qa_f1", "bng_score", "mauve_global", "nuf_hypervolume"],
        buckets=buckets,
        # The index has no area exactly where its frontier is a single point.
        frontier_points=1 if report.value("nuf_index_auc") is None else None,
    )
