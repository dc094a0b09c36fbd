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
from polyalign.files import StrPath, sha256_file, sha256_json, write_table
from polyalign.manifest import package_versions
from polyalign.metrics import naturalness
from polyalign.metrics.aggregate import aggregate
from polyalign.metrics.bootstrap import distinct_replicates, draw_weights, interval, weighted_means
from polyalign.metrics.diversity import NgramTable, diversity
from polyalign.metrics.feature_inputs import RowFeatures, read_row_features
from polyalign.metrics.groups import group_key, mean_replicates, split_key
from polyalign.metrics.inputs import Rows, read_rows, token_counts
from polyalign.metrics.mauve import Featurizer, mauve_metrics, null_mauve
from polyalign.metrics.nuf import frontiers
from polyalign.metrics.report import Cell, InputFile, Report
from polyalign.metrics.settings import MetricSettings
from polyalign.metrics.tdm import Turns, embed_turns, summarize, tdm_replicates
from polyalign.metrics.tokens import tokenize
from polyalign.metrics.utility import score_rows

RECENTRED = ("bng", "bng_robust", "tdm", "distinct_1", "distinct_2", "distinct_3")
"""Metrics that resampling itself moves, see `polyalign.metrics.bootstrap.interval`."""
BOUNDS = dict.fromkeys(("bng", "bng_robust", "mean_tokens"), (0.0, float("inf")))
"""Least and largest possible value of the metrics that are no shares."""
ORACLE_MODE = "oracle"


def evaluate(
    records_path: StrPath,
    predictions_path: StrPath,
    references_path: StrPath | None = None,
    human_features_path: StrPath | None = None,
    prediction_features_path: StrPath | None = None,
    *,
    settings: MetricSettings | Mapping[str, Any] | None = None,
    cell: Mapping[str, str] | None = None,
    generation: Mapping[str, Any] | None = None,
    mauve_model_dir: StrPath | None = None,
    replicates_path: StrPath | None = None,
) -> Report:
    """Evaluate one set of predictions.

    Args:
        records_path: records of the split, Parquet or JSONL; the row number is the source_index.
        predictions_path: JSONL rows with source_index and prediction; finish_reason and id are used where given.
        references_path, human_features_path, prediction_features_path: all three; no features means no BNG and HCR.
        cell: language, method and model, when the predictions are a cell of the grid.
        generation: what the manifest of the predictions states: prompt_mode, decoding, engine.
        mauve_model_dir: folder of the causal language model that embeds texts for MAUVE; None for no MAUVE.
        replicates_path: where the bootstrap replicates go (Parquet, a column a metric), which paired tests need.

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
    evaluation = _Evaluation(rows, features, settings)
    metrics = evaluation.metrics(mauve_model_dir)
    intervals, replicates = evaluation.intervals(metrics)
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
            "prompt_mode": generation.get("prompt_mode"),
            "oracle": generation.get("prompt_mode") == ORACLE_MODE,
            "decoding": generation.get("decoding"),
            "engine": generation.get("engine"),
            "coverage": coverage(rows),
            "features": _feature_info(features),
            "metrics": metrics,
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
        "feature_set": table.feature_set or "unknown",
        "scorer": table.scorer,
        "n_features": len(features.names),
        "names": features.names,
        "backends": table.backends,
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


class _Evaluation:
    """The metrics of some rows, and their bootstrap, over the answered rows."""

    def __init__(self, rows: Rows, features: RowFeatures | None, settings: MetricSettings) -> None:
        self.rows, self.features, self.settings = rows, features, settings
        self.answered = rows.answered
        self.predictions = [rows.predictions[row] for row in self.answered]
        self.answers = [rows.answers[row] for row in self.answered]
        self.buckets = rows.buckets[self.answered]
        self.scores = score_rows(self.predictions, self.answers)
        self.lengths = {"human": token_counts(self.answers), "generated": token_counts(self.predictions)}
        self.ngrams = {
            "human": NgramTable(tokenize(self.answers)),
            "generated": NgramTable(tokenize(self.predictions)),
        }
        self.large = (
            naturalness.large_buckets(rows, features, settings.min_bucket_size)
            if features is not None
            else []
        )
        self.names = features.names if features is not None else []
        self.multi = np.flatnonzero(rows.tracks[self.answered] == "multi")
        self.turns: dict[str, Turns] | str = embed_turns(
            [rows.questions[self.answered[place]] for place in self.multi],
            [self.answers[place] for place in self.multi],
            [self.predictions[place] for place in self.multi],
            self.buckets[self.multi],
            min_bucket_size=settings.min_bucket_size,
        )

    def metrics(self, mauve_model_dir: StrPath | None) -> dict:
        """`metrics` of the report."""
        settings = self.settings
        if self.features is None:
            measures = naturalness.null_measures("no feature files were given")
        else:
            measures = naturalness.measure(self.large, self.names, settings.min_bucket_size)
        utility = self._utility()
        mauve = self._mauve(mauve_model_dir)
        tdm = summarize(self.turns)
        nuf = frontiers(
            {row["bucket_id"]: row["qa_f1"] for row in utility["by_bucket"]},
            {row["bucket_id"]: row["bng"] for row in measures["bng"].get("by_bucket", [])},
            {
                row["bucket_id"]: row["hcr"]
                for row in measures["hcr" if settings.support == "q10_q90" else "hcr_q25_q75"]["by_bucket"]
            },
            None if mauve["skipped"] else {row["bucket_id"]: row["c_mauve"] for row in mauve["by_bucket"]},
            {row["bucket_id"]: row["tdm"] for row in tdm["by_bucket"]},
        )
        return {
            "utility": utility,
            "diversity": self._diversity(),
            **measures,
            "mauve": mauve,
            "tdm": tdm,
            "nuf": nuf,
            "aggregate": aggregate(
                utility["overall"]["qa_f1"],
                measures["bng"].get("overall_macro"),
                mauve["global"],
                nuf["overall"]["hypervolume"],
            ),
            "mean_tokens": {side: float(lengths.mean()) for side, lengths in self.lengths.items()},
            "human_ceiling": naturalness.ceiling(self.large, self.names, settings.seed),
        }

    def _groups(self, labels: np.ndarray) -> list[tuple[str, np.ndarray]]:
        return [(str(label), np.flatnonzero(labels == label)) for label in np.unique(labels)]

    def _utility(self) -> dict:
        def means(chosen: np.ndarray) -> dict[str, float]:
            return {name: float(values[chosen].mean()) for name, values in self.scores.items()}

        datasets = self.rows.datasets[self.answered]
        return {
            "overall": means(np.arange(len(self.answered))),
            "by_bucket": [
                {"bucket_id": name, "n_examples": len(chosen), **means(chosen)}
                for name, chosen in self._groups(self.buckets)
            ],
            "by_dataset": [
                {"dataset": name, "n_examples": len(chosen), **means(chosen)}
                for name, chosen in self._groups(datasets)
            ],
        }

    def _diversity(self) -> dict:
        settings = self.settings

        def both(chosen: np.ndarray) -> dict[str, dict]:
            return {
                side: diversity(
                    table,
                    chosen,
                    sample=settings.self_bleu_sample,
                    references=settings.self_bleu_references,
                    seed=settings.seed,
                )
                for side, table in self.ngrams.items()
            }

        return {
            "overall": both(np.arange(len(self.answered))),
            "by_bucket": [{"bucket_id": name, **both(chosen)} for name, chosen in self._groups(self.buckets)],
        }

    def _mauve(self, model_dir: StrPath | None) -> dict:
        if model_dir is None:
            return null_mauve("no featurizer model was given")
        settings = self.settings.mauve
        featurize = Featurizer(model_dir, max_length=settings.max_length, batch_tokens=settings.batch_tokens)
        return mauve_metrics(
            self.predictions,
            self.answers,
            self.buckets,
            featurize,
            min_bucket_size=self.settings.min_bucket_size,
            max_texts=settings.max_texts,
            seed=self.settings.seed,
        )

    def intervals(self, metrics: Mapping[str, Any]) -> tuple[dict, dict[str, np.ndarray]]:
        """(`intervals` of the report, {metric: replicates (B,)})."""
        settings = self.settings
        stated = {
            "replicates": settings.bootstrap,
            "confidence": settings.confidence,
            "seed": settings.seed,
            "metrics": {},
            "draws_digest": None,
        }
        if not settings.bootstrap:
            return {**stated, "reason": "bootstrap is 0"}, {}
        draws = draw_weights(self.rows.buckets, settings.bootstrap, settings.seed)
        replicates = self._replicates(draws)
        estimates = estimates_of(metrics)
        for name, values in replicates.items():
            if split_key(name)[1] is not None:
                continue
            bounds = BOUNDS.get(name, (0.0, 1.0))
            found = interval(
                values, estimates[name], settings.confidence, recentre=name in RECENTRED, bounds=bounds
            )
            if found is not None:
                stated["metrics"][name] = vars(found)
        every_row = self.rows.digest(np.arange(len(self.rows.ids)))
        stated["draws_digest"] = sha256_json([every_row, settings.seed, settings.bootstrap])
        return stated, replicates

    def _replicates(self, draws: naturalness.Draws) -> dict[str, np.ndarray]:
        """Replicates (B,) of every metric that has an interval, overall, by bucket and by dataset."""
        spread = np.full(len(self.rows.ids), np.nan)
        per_row = {**self.scores, "mean_tokens": self.lengths["generated"]}
        weights = np.concatenate([drawn for _, drawn in draws.values()], axis=1)
        order = np.concatenate([numbers for numbers, _ in draws.values()])
        found = {}
        for name, values in per_row.items():
            spread[self.answered] = values
            found[name] = weighted_means(weights, spread[order])
            for labels in (self.rows.buckets, self.rows.datasets):
                found |= mean_replicates(name, weights, spread[order], labels[order])
        of_answered = self._draws_of_answered(draws)
        for order_n, values in distinct_replicates(self.ngrams["generated"], of_answered).items():
            found[f"distinct_{order_n}"] = values
        by_bucket = naturalness.replicates(self.large, self.names, draws)
        if not isinstance(self.turns, str):
            by_bucket["tdm"] = self._tdm_replicates(of_answered)
        for name, buckets in by_bucket.items():
            found[name] = np.mean(list(buckets.values()), axis=0)
            found |= {group_key(name, bucket): values for bucket, values in buckets.items()}
        return found

    def _draws_of_answered(self, draws: naturalness.Draws) -> naturalness.Draws:
        """The draws of the answered rows, numbered among these."""
        place = np.full(len(self.rows.ids), -1)
        place[self.answered] = np.arange(len(self.answered))
        kept = {}
        for bucket, (numbers, weights) in draws.items():
            there = place[numbers] >= 0
            kept[bucket] = place[numbers][there], weights[:, there]
        return kept

    def _tdm_replicates(self, draws: naturalness.Draws) -> dict[str, np.ndarray]:
        parts = {}
        for bucket, turns in self.turns.items():
            numbers, weights = draws[bucket]
            of_turns = np.searchsorted(numbers, self.multi[turns.rows])
            parts[bucket] = tdm_replicates(turns, weights[:, of_turns])
        return parts


def estimates_of(metrics: Mapping[str, Any]) -> dict[str, float | None]:
    """The overall value of every metric of a report's `metrics` that tables show, by short name."""
    generated = metrics["diversity"]["overall"]["generated"]
    return {
        **metrics["utility"]["overall"],
        **generated,
        "bng": metrics["bng"].get("overall_macro"),
        "bng_robust": metrics["bng_robust"].get("overall_macro"),
        "hcr": metrics["hcr"].get("overall_macro"),
        "hcr_calibrated": metrics["hcr_calibrated"].get("overall_macro"),
        "mauve": metrics["mauve"].get("global"),
        "tdm": metrics["tdm"].get("overall_macro"),
        "nuf": metrics["nuf"]["overall"]["hypervolume"],
        "aggregate": metrics["aggregate"]["overall"],
        "mean_tokens": metrics["mean_tokens"]["generated"],
    }


def summarize_report(report: Report) -> dict[str, Any]:
    """What the manifest of an evaluation says of cell, coverage, scorer, feature set, prompt mode and draws."""
    return {
        "cell": report.cell.name if report.cell else None,
        "prompt_mode": report.prompt_mode,
        "oracle": report.oracle,
        "coverage": report.coverage.model_dump(exclude={"by_bucket"}),
        "feature_set": report.features.feature_set if report.features else None,
        "scorer": report.features.scorer if report.features else None,
        "draws_digest": report.intervals.draws_digest,
    }
