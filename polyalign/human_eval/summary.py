"""Summarize the exports of a human evaluation: numbers as JSON, tables as HTML, Markdown, LaTeX and CSV.

    summarize(["ana.json", "ben.json"], "key.json", "out", metrics=["en_sft_tiny.json", "en_hdpo_tiny.json"])

writes out/summary.json and out/human_eval_{language}.html, .md, .tex and .csv.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from polyalign.errors import BadInput
from polyalign.files import StrPath, made_folder, read_json, write_json
from polyalign.human_eval.exports import Key, Rating, read_exports, read_key
from polyalign.human_eval.settings import CHOICES
from polyalign.human_eval.statistics import Resampling, agreement, choice_shares, mean_scores, preferences
from polyalign.judge.rubric import load_rubric
from polyalign.metrics.evaluation import estimates_of
from polyalign.metrics.report import read_report
from polyalign.tables.html import write_page
from polyalign.tables.human_eval import human_eval_page

LEAST_SYSTEMS = 4
"""Fewer systems than this have no rank correlation worth a number."""


def _by_length(ratings: Sequence[Rating], key: Key, whole: Callable[[list[Rating]], Any]) -> dict[str, Any]:
    """The same numbers of each length bin that was rated."""
    groups: dict[str, list[Rating]] = {}
    for rating in ratings:
        groups.setdefault(key.prompts[rating.prompt]["length_bin"], []).append(rating)
    return {name: whole(group) for name, group in sorted(groups.items())}


def _single(ratings: list[Rating], site: Mapping[str, Any], key: Key, draws: Resampling) -> dict[str, Any]:
    dimensions, systems = site["dimensions"], site["systems"]

    def scores(group: list[Rating]) -> dict:
        return mean_scores(group, dimensions, systems, draws)

    def values(name: str) -> list[tuple[Rating, float]]:
        return [(rating, rating.scores[name]) for rating in ratings if name in rating.scores]

    return {
        "ratings": len(ratings),
        "half_done": sum(len(rating.scores) < len(dimensions) for rating in ratings),
        "items": len(site["items"]),
        "items_rated": len({rating.item for rating in ratings}),
        "scores": scores(ratings),
        "by_length_bin": _by_length(ratings, key, scores),
        "agreement": {name: agreement(values(name), "ordinal", draws) for name in dimensions},
    }


def _pairwise(ratings: list[Rating], site: Mapping[str, Any], key: Key, draws: Resampling) -> dict[str, Any]:
    def preferred(group: list[Rating]) -> dict:
        return preferences(group, site["systems"], draws)

    chosen = [(rating, float(CHOICES.index(rating.choice))) for rating in ratings]
    return {
        "ratings": len(ratings),
        "items": len(site["items"]),
        "items_rated": len({rating.item for rating in ratings}),
        "preferences": preferred(ratings),
        "choices": choice_shares(ratings),
        "agreement": {"choice": agreement(chosen, "nominal", draws)},
    }


def correlations(
    human: Mapping[str, float | None], reports: Mapping[str, Mapping[str, float | None]]
) -> dict[str, dict[str, Any]]:
    """Spearman's rank correlation of a human number with every metric, over the systems that have both.

    Args:
        human: number of each system.
        reports: {system: {metric: value}}.
    """
    found = {}
    for metric in dict.fromkeys(name for report in reports.values() for name in report):
        pairs = [
            (human[system], report[metric])
            for system, report in reports.items()
            if human.get(system) is not None and report.get(metric) is not None
        ]
        values: dict[str, Any] = {"systems": len(pairs), "spearman": None}
        columns = np.array(pairs, dtype=float).reshape(-1, 2)
        if len(pairs) < LEAST_SYSTEMS:
            values["reason"] = f"fewer than {LEAST_SYSTEMS} systems"
        elif (np.ptp(columns, axis=0) == 0).any():
            values["reason"] = "one side is constant"
        else:
            values["spearman"] = float(spearmanr(*columns.T).statistic)
        found[metric] = values
    return found


def _metric_reports(paths: Sequence[StrPath]) -> dict[str, dict[str, float | None]]:
    reports = [read_report(path) for path in paths]
    return {
        report.cell.name if report.cell else Path(path).stem: estimates_of(
            report.metrics.model_dump(by_alias=True)
        )
        for path, report in zip(paths, reports, strict=True)
    }


def with_judges(
    reports: Mapping[str, Mapping[str, float | None]], judges: Sequence[StrPath]
) -> dict[str, dict[str, float | None]]:
    """Reports of the systems, the composites of every judge among their metrics.

    Raises:
        BadInput: a file that is no summary of a judge.
    """
    found = {system: dict(report) for system, report in reports.items()}
    for path in judges:
        summary = read_json(path)
        if not isinstance(summary, dict) or not {"judge", "cells"} <= set(summary):
            raise BadInput(
                "no summary of a judge", file=path, expected="results/judge/{judge}/summary_{lang}.json"
            )
        for cell, figures in summary["cells"].items():
            for name in load_rubric().composites:
                found.setdefault(cell, {})[f"{summary['judge']} {name}"] = figures["means"][name]["estimate"]
    return found


def summarize(
    exports: Sequence[StrPath],
    key_path: StrPath,
    out_dir: StrPath,
    *,
    metrics: Sequence[StrPath] = (),
    judges: Sequence[StrPath] = (),
    bootstrap: int = 1000,
    confidence: float = 0.95,
    seed: int = 42,
) -> dict[str, Any]:
    """Write summary.json and its tables.

    Args:
        exports: files that annotators exported, of both pages alike.
        key_path: key.json of the build.
        metrics: evaluation reports of the systems; a report without a cell goes by its file name.
        judges: summaries of judges that graded the systems.

    Returns:
        Details for the manifest.

    Raises:
        BadInput, BadInputs: see `read_exports`; nothing is written then.
    """
    key = read_key(key_path)
    ratings = read_exports(exports, key)
    draws = Resampling([prompt["length_bin"] for prompt in key.prompts], bootstrap, confidence, seed)
    summary: dict[str, Any] = {
        "language": key.language,
        "annotators": dict(Counter(rating.annotator for rating in ratings)),
        "bootstrap": {"replicates": bootstrap, "confidence": confidence, "seed": seed},
        "single": None,
        "pairwise": None,
        "correlations": {},
    }
    reports = with_judges(_metric_reports(metrics), judges)
    for site_id, site in key.sites.items():
        own = [rating for rating in ratings if rating.site == site_id]
        if not own:
            continue
        mode = site["mode"]
        part = (_single if mode == "single" else _pairwise)(own, site, key, draws)
        summary[mode] = part
        if reports:
            summary["correlations"][mode] = correlations(_ranking(part), reports)
    page = human_eval_page(summary)
    out = Path(out_dir)
    with made_folder(out):
        write_page(page, out)
        write_json(out / "summary.json", summary)
    return {"language": key.language, "annotators": len(summary["annotators"]), "ratings": len(ratings)}


def _ranking(part: Mapping[str, Any]) -> dict[str, float | None]:
    """The one number of each system: its overall score, or its strength."""
    if "scores" in part:
        return {name: (row["overall"] or {}).get("estimate") for name, row in part["scores"].items()}
    return {name: (row["strength"] or {}).get("estimate") for name, row in part["preferences"].items()}
