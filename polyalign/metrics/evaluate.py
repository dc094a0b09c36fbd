"""Evaluate predictions against the human answers of their records: every metric, its interval and its coverage.

    report = evaluate("test.parquet", "test.jsonl", "bucket_references.json", "human.parquet", "cell.parquet")

Without feature files BNG and HCR are null and say so; so are MAUVE without a model, and turn dynamics without
multi-turn rows.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from polyalign.errors import BadInput
from polyalign.files import StrPath, sha256_file, write_table
from polyalign.manifest import package_versions
from polyalign.metrics.evaluation import Evaluation
from polyalign.metrics.feature_inputs import RowFeatures, read_row_features
from polyalign.metrics.inputs import Rows, common_rows, read_rows
from polyalign.metrics.report import Cell, InputFile, Report
from polyalign.metrics.settings import MetricSettings

ORACLE_MODE = "oracle"


def evaluate(
    records_path: StrPath,
    predictions_path: StrPath,
    references_path: StrPath | None = None,
    human_features_path: StrPath | None = None,
    prediction_features_path: StrPath | None = None,
    *,
    settings: MetricSettings | Mapping[str, Any] | None = None,
    cell: Mapping[str, str | None] | None = None,
    generation: Mapping[str, Any] | None = None,
    mauve_model_dir: StrPath | None = None,
    replicates_path: StrPath | None = None,
    common_with: Sequence[StrPath] = (),
    seed: int | None = None,
    threads: int = 1,
) -> Report:
    """Evaluate one set of predictions.

    Args:
        records_path: records of the split, Parquet or JSONL; the row number is the source_index.
        predictions_path: JSONL rows with source_index and prediction; finish_reason and id are used where given.
        references_path, human_features_path, prediction_features_path: all three; no features means no BNG and HCR.
        cell: language, method, model and seed_of (the model whose further seed it is), when the predictions are a cell
            of the grid.
        generation: what the manifest of the predictions states: source, prompt_mode, decoding, engine.
        mauve_model_dir: folder of the causal language model that embeds texts for MAUVE; None for no MAUVE.
        replicates_path: where the bootstrap replicates go (Parquet, a column a metric), which paired tests need.
        common_with: further prediction files; only rows that all of them answer are evaluated.
        seed: seed of the run that made the predictions, which tells apart several runs of a cell.
        threads: threads of the bootstrap.

    Raises:
        BadInput, BadInputs: a file that is broken or that does not belong to the others, one line a problem.
    """
    settings = settings if isinstance(settings, MetricSettings) else MetricSettings(**(settings or {}))
    given = [references_path, human_features_path, prediction_features_path]
    if any(given[1:]) and not all(given):
        raise BadInput(
            "features of human answers, features of predictions and references belong together",
            expected="all three, or no features",
            fix="give --references, --human-features and --prediction-features",
        )
    rows = read_rows(records_path, predictions_path)
    features = read_row_features(rows, *given) if all(given) else None
    records = len(rows.ids)
    if common_with:
        kept = common_rows(rows, common_with)
        rows, features = rows.take(kept), features.take(kept) if features else None
    evaluation = Evaluation(rows, features, settings, mauve_model_dir=mauve_model_dir, threads=threads)
    intervals, replicates = evaluation.intervals()
    if replicates_path is not None:
        table = pa.table({name: pa.array(values) for name, values in replicates.items()})
        write_table(replicates_path, table, {"polyalign.draws_digest": intervals["draws_digest"] or ""})
    generation = generation or {}
    files = {
        "records": records_path,
        "predictions": predictions_path,
        "references": references_path,
        "human_features": human_features_path,
        "prediction_features": prediction_features_path,
    }
    splits = np.unique(rows.splits).tolist()
    return Report.model_validate(
        {
            "cell": Cell(**cell) if cell else None,
            "split": splits[0] if len(splits) == 1 else None,
            "languages": np.unique(rows.languages).tolist(),
            "source": generation.get("source"),
            "prompt_mode": generation.get("prompt_mode"),
            "oracle": generation.get("prompt_mode") == ORACLE_MODE,
            "decoding": generation.get("decoding"),
            "engine": generation.get("engine"),
            "seed": seed,
            "coverage": {
                **coverage(rows),
                "records": records,
                "common_with": [InputFile(path=_shown(p), sha256=sha256_file(p)) for p in common_with],
            },
            "features": _feature_info(features),
            "metrics": evaluation.metrics,
            "intervals": intervals,
            "inputs": {
                name: InputFile(path=_shown(path), sha256=sha256_file(path))
                for name, path in files.items()
                if path
            },
            "parameters": settings.model_dump(mode="json"),
            "versions": package_versions(),
        }
    )


def _shown(path: StrPath) -> str:
    """A path that means something elsewhere too: relative to the working directory, or the file's name alone."""
    absolute = Path(path).resolve()
    here = Path.cwd().resolve()
    return str(absolute.relative_to(here)) if absolute.is_relative_to(here) else absolute.name


def _feature_info(features: RowFeatures | None) -> dict | None:
    if features is None:
        return None
    table = features.human_table
    return {
        **table.made_by.stated(),
        "feature_set": table.made_by.feature_set or "unknown",
        "n_features": len(features.names),
        "names": features.names,
    }


def _share(reasons: Sequence[str | None]) -> float | None:
    stated = [reason for reason in reasons if reason is not None]
    return sum(reason == "length" for reason in stated) / len(stated) if stated else None


def coverage(rows: Rows) -> dict:
    """Coverage of the report: rows expected, answered, missing, empty, cut at the length limit; by bucket too."""

    def part(chosen: np.ndarray) -> dict:
        answered = [row for row in chosen if rows.predictions[row] is not None]
        return {
            "rows_expected": len(chosen),
            "answered": len(answered),
            "empty_predictions": sum(not rows.predictions[row].strip() for row in answered),
            "length_share": _share([rows.finish_reasons[row] for row in answered]),
        }

    whole = part(np.arange(len(rows.ids)))
    reasons = Counter(reason for reason in rows.finish_reasons if reason is not None)
    return {
        **whole,
        "missing": whole["rows_expected"] - whole["answered"],
        "error_rows": reasons["error"],
        "finish_reasons": dict(sorted(reasons.items())),
        "source_index_digest": rows.digest(rows.answered),
        "by_bucket": [
            {"bucket_id": str(bucket), **part(np.flatnonzero(rows.buckets == bucket))}
            for bucket in np.unique(rows.buckets)
        ],
    }


def summarize_report(report: Report) -> dict[str, Any]:
    """What the manifest of an evaluation says of cell, coverage, scorer, feature set, prompt mode and draws."""
    return {
        "cell": report.cell.name if report.cell else None,
        "seed": report.seed,
        "source": report.source.kind if report.source else None,
        "prompt_mode": report.prompt_mode,
        "oracle": report.oracle,
        "coverage": report.coverage.model_dump(exclude={"by_bucket"}),
        "feature_set": report.features.feature_set if report.features else None,
        "scorer": report.features.scorer if report.features else None,
        "draws_digest": report.intervals.draws_digest,
    }
