"""The metrics of some rows, their bootstrap replicates and intervals, over the answered rows."""

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np

from polyalign.files import StrPath, sha256_json
from polyalign.metrics import naturalness
from polyalign.metrics.aggregate import aggregate
from polyalign.metrics.bootstrap import Draws, distinct_replicates, draw_weights, interval, weighted_means
from polyalign.metrics.ceiling import human_ceiling
from polyalign.metrics.diversity import NgramTable, diversity, self_bleu_scores
from polyalign.metrics.feature_inputs import RowFeatures
from polyalign.metrics.groups import group_key, mean_replicates, split_key
from polyalign.metrics.inputs import Rows, token_counts
from polyalign.metrics.mauve import Mauve, null_mauve
from polyalign.metrics.nuf import frontiers, hypervolume_replicates
from polyalign.metrics.settings import MetricSettings
from polyalign.metrics.tdm import Turns, embed_turns, summarize, tdm_replicates
from polyalign.metrics.tokens import tokenize
from polyalign.metrics.utility import score_rows

RECENTRED = (
    "bng",
    "bng_robust",
    "tdm",
    "distinct_1",
    "distinct_2",
    "distinct_3",
    "mauve",
    "nuf",
    "aggregate",
)
"""Metrics that resampling itself moves, see `polyalign.metrics.bootstrap.interval`."""
BOUNDS = dict.fromkeys(("bng", "bng_robust", "mean_tokens"), (0.0, float("inf")))
"""Least and largest possible value of the metrics that are no shares."""


class Evaluation:
    """Everything that is measured of some rows.

    Args:
        rows: records and predictions.
        features: features of both sides and references; None for no BNG and HCR.
        mauve_model_dir: folder of the language model that embeds texts for MAUVE; None for no MAUVE.
        threads: threads of the bootstrap.
    """

    def __init__(
        self,
        rows: Rows,
        features: RowFeatures | None,
        settings: MetricSettings,
        *,
        mauve_model_dir: StrPath | None = None,
        threads: int = 1,
    ) -> None:
        self.rows, self.features, self.settings, self.threads = rows, features, settings, threads
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
        self.mauve: Mauve | str = "no featurizer model was given"
        if mauve_model_dir is not None:
            self.mauve = Mauve.of_texts(
                self.predictions,
                self.answers,
                self.buckets,
                mauve_model_dir,
                settings.mauve,
                min_bucket_size=settings.min_bucket_size,
                seed=settings.seed,
            )

    @cached_property
    def metrics(self) -> dict:
        """`metrics` of the report."""
        settings = self.settings
        if self.features is None:
            measures = naturalness.null_measures("no feature files were given")
        else:
            measures = naturalness.measure(self.large, self.names, settings.min_bucket_size)
        utility = self._utility()
        mauve = null_mauve(self.mauve) if isinstance(self.mauve, str) else self.mauve.summary()
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
        ceiling = human_ceiling(
            self.rows,
            self.large,
            self.ngrams["human"],
            self.turns,
            self.multi,
            None if isinstance(self.mauve, str) else self.mauve.of_human_halves,
            settings,
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
            "mean_tokens": {
                **{side: float(lengths.mean()) for side, lengths in self.lengths.items()},
                "by_bucket": [
                    {"bucket_id": name, **{side: float(n[chosen].mean()) for side, n in self.lengths.items()}}
                    for name, chosen in self._groups(self.buckets)
                ],
            },
            "human_ceiling": vars(ceiling),
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
        def both(chosen: np.ndarray) -> dict[str, dict]:
            return {
                side: diversity(table, chosen, **self.settings.self_bleu())
                for side, table in self.ngrams.items()
            }

        return {
            "overall": both(np.arange(len(self.answered))),
            "by_bucket": [{"bucket_id": name, **both(chosen)} for name, chosen in self._groups(self.buckets)],
        }

    def intervals(self) -> tuple[dict, dict[str, np.ndarray]]:
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
        estimates = estimates_of(self.metrics)
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

    def _replicates(self, draws: Draws) -> dict[str, np.ndarray]:
        """Replicates (B,) of every metric that has an interval, overall, by bucket and by dataset."""
        of_answered = self._draws_of_answered(draws)
        per_row = {**self.scores, "mean_tokens": self.lengths["generated"]}
        found = mean_replicates(per_row, of_answered, self.rows.datasets[self.answered])
        for order, values in distinct_replicates(self.ngrams["generated"], of_answered).items():
            found[f"distinct_{order}"] = values
        found |= self._self_bleu_replicates(of_answered)
        by_bucket = naturalness.replicates(self.large, self.names, draws, self.threads)
        if not isinstance(self.turns, str):
            by_bucket["tdm"] = self._tdm_replicates(of_answered)
        if not isinstance(self.mauve, str):
            found["mauve"], c_mauve = self.mauve.replicates(of_answered)
            found |= {group_key("mauve", bucket): values for bucket, values in c_mauve.items()}
        for name, buckets in by_bucket.items():
            found[name] = np.mean(list(buckets.values()), axis=0)
            found |= {group_key(name, bucket): values for bucket, values in buckets.items()}
        return found | self._composites(found)

    def _draws_of_answered(self, draws: Draws) -> Draws:
        """The draws of the answered rows, numbered among these."""
        place = np.full(len(self.rows.ids), -1)
        place[self.answered] = np.arange(len(self.answered))
        kept = {}
        for bucket, (numbers, weights) in draws.items():
            there = place[numbers] >= 0
            if there.any():
                kept[bucket] = place[numbers][there], weights if there.all() else weights[:, there]
        return kept

    def _self_bleu_replicates(self, draws: Draws) -> dict[str, np.ndarray]:
        """Self-BLEU of each draw of the sampled texts; what each is compared with stays fixed."""
        everyone = np.arange(len(self.answered))
        texts, scores = self_bleu_scores(self.ngrams["generated"], everyone, **self.settings.self_bleu())
        if not len(texts):
            return {}
        of_text = np.full(len(self.answered), np.nan)
        of_text[texts] = scores
        parts = [(weights, of_text[rows]) for rows, weights in draws.values()]
        sampled = [(weights[:, ~np.isnan(values)], values[~np.isnan(values)]) for weights, values in parts]
        weights = np.concatenate([weights for weights, _ in sampled], axis=1)
        return {"self_bleu_4": weighted_means(weights, np.concatenate([values for _, values in sampled]))}

    def _tdm_replicates(self, draws: Draws) -> dict[str, np.ndarray]:
        parts = {}
        for bucket, turns in self.turns.items():
            numbers, weights = draws[bucket]
            of_turns = np.searchsorted(numbers, self.multi[turns.rows])
            parts[bucket] = tdm_replicates(turns, weights[:, of_turns], self.threads)
        return parts

    def _composites(self, found: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Replicates of the frontier and of the aggregate, from those of what they are made of."""
        metrics = self.metrics
        points = metrics["nuf"]["overall"]["by_bucket"]
        used = [row for row in points if row["naturalness_score"] is not None]
        if not used or any(group_key("bng", row["bucket_id"]) not in found for row in used):
            return {}
        buckets = [row["bucket_id"] for row in used]
        parts = {}
        for name in ("qa_f1", "bng", "mauve"):
            keys = [group_key(name, bucket) for bucket in buckets]
            if all(key in found for key in keys):
                parts[name] = np.column_stack([found[key] for key in keys])
        naturalness_parts = [1 / (1 + parts["bng"]), *([parts["mauve"]] if "mauve" in parts else [])]
        scores = np.prod(naturalness_parts, axis=0) ** (1 / len(naturalness_parts))
        nuf = hypervolume_replicates(np.clip(parts["qa_f1"], 0, 1), scores)
        components = [found["qa_f1"], 1 / (1 + found["bng"]), nuf]
        components += [found["mauve"]] if "mauve" in found else []
        whole = np.clip(np.prod(components, axis=0), 0, None) ** (1 / len(components))
        composite = {"nuf": nuf}
        if metrics["aggregate"]["component_count"] == len(components):
            composite["aggregate"] = whole
        return composite


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
        "inside_rate": metrics["hcr"].get("mean_feature_inside_rate"),
        "mauve": metrics["mauve"].get("global"),
        "tdm": metrics["tdm"].get("overall_macro"),
        "nuf": metrics["nuf"]["overall"]["hypervolume"],
        "aggregate": metrics["aggregate"]["overall"],
        "mean_tokens": metrics["mean_tokens"]["generated"],
    }


def ceilings_of(metrics: Mapping[str, Any]) -> dict[str, float | None]:
    """What humans reach in every metric of `estimates_of`, where they can be measured against each other."""
    return {
        **metrics["human_ceiling"]["values"],
        "mean_tokens": metrics["mean_tokens"]["human"],
    }
