"""Figures of a detector for one language, over the rows that humans and all systems have in common.

    summary = summarize("binoculars", "en", human_scores, {"en_sft_tiny": scores}, settings, seed=42)

Definitions: docs/method.md, Judge, detectors and human evaluation; what the figures mean: docs/detection.md.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from polyalign.detection.settings import Detection
from polyalign.errors import BadInput
from polyalign.files import StrPath, read_jsonl, write_json
from polyalign.methods import refuse_oracles
from polyalign.metrics.bootstrap import ends, interval, row_weights

SCHEMA_VERSION = 1
FALSE_POSITIVES = {"tpr_at_1_fpr": 0.01, "tpr_at_5_fpr": 0.05}
CALIBRATED = ("en",)
"""Languages whose text the published thresholds were set on."""
UNCALIBRATED = "the threshold was set on English text and is not calibrated for this language"


def read_scores(path: StrPath) -> dict[int, dict[str, Any]]:
    """{source_index: row} of a file of scores; `BadInput` for a row that is there twice or has no score field."""
    found: dict[int, dict[str, Any]] = {}
    for line, row in read_jsonl(path):
        index = row.get("source_index")
        if not isinstance(index, int) or index in found:
            raise BadInput(
                f"found {index!r}", file=path, row=line, field="source_index", expected="each row number once"
            )
        if "score" not in row or "error" not in row or (row["score"] is None) != bool(row["error"]):
            raise BadInput(
                "neither a score nor an error, or both", file=path, row=line, expected="a line of `detect`"
            )
        found[index] = row
    return found


def auroc(human: np.ndarray, machine: np.ndarray) -> float:
    """Chance that a machine's score (m,) lies above a human's (n,); ties count half."""
    return float(
        weighted_auroc(human, machine, np.ones((1, len(human))), np.ones((1, len(machine))))[0],
    )


def weighted_auroc(
    human: np.ndarray, machine: np.ndarray, human_weights: np.ndarray, machine_weights: np.ndarray
) -> np.ndarray:
    """AUROC (B,) of scores (n,) and (m,) whose rows count as often as the weights (B, n) and (B, m) say."""
    values, place = np.unique(np.concatenate([human, machine]), return_inverse=True)
    results = np.empty(len(human_weights))
    for replicate, (weights, others) in enumerate(zip(human_weights, machine_weights, strict=True)):
        below = np.bincount(place[: len(human)], weights, len(values))
        there = np.bincount(place[len(human) :], others, len(values))
        wins = np.cumsum(below) - below / 2
        results[replicate] = (there @ wins) / (below.sum() * there.sum())
    return results


def tpr_at(human: np.ndarray, machine: np.ndarray, rate: float) -> float:
    """Share of machine texts above the lowest threshold that at most `rate` of the human texts lie above.

    With fewer than 1 / rate human texts that threshold is the largest human score.
    """
    allowed = int(np.floor(rate * len(human) + 1e-9))
    threshold = np.sort(human)[::-1][min(allowed, len(human) - 1)]
    return float((machine > threshold).mean())


def summarize(
    detector: str,
    language: str,
    human_file: StrPath,
    system_files: Mapping[str, StrPath],
    settings: Detection,
    seed: int,
) -> dict[str, Any]:
    """The summary of a detector: what it says of the human answers and of every system.

    Args:
        human_file: scores of the human answers.
        system_files: {cell: scores of its predictions}.
        settings: bootstrap, confidence and bins.

    Raises:
        BadInput: an oracle among the systems, rows that are not the same, or no row that all have a score for.
    """
    refuse_oracles(system_files)
    human = read_scores(human_file)
    systems = {cell: read_scores(path) for cell, path in system_files.items()}
    for cell, rows in systems.items():
        _same_rows(human, rows, cell, system_files[cell])
    common = sorted(set.intersection(*(_scored(rows) for rows in [human, *systems.values()])))
    if not common:
        raise BadInput(
            "no row has a score for the human answer and for every system",
            file=human_file,
            fix="see the errors in the files of scores",
        )
    edges = _edges([human, *systems.values()], common, settings.bins)
    # A row's human and machine text are drawn together.
    weights = row_weights(np.zeros(len(common), dtype=np.int8), settings.bootstrap, seed)
    people = _column(human, common)
    return {
        "schema_version": SCHEMA_VERSION,
        "detector": detector,
        "language": language,
        "calibrated": language in CALIBRATED,
        "note": None if language in CALIBRATED else UNCALIBRATED,
        "threshold": next(row["threshold"] for row in human.values() if row["error"] is None),
        "common_rows": len(common),
        "intervals": {"replicates": settings.bootstrap, "confidence": settings.confidence, "seed": seed},
        "edges": edges.tolist(),
        "human": _figures(human, common, edges),
        "systems": {
            cell: {
                **_figures(rows, common, edges),
                **_against(people, _column(rows, common), weights, settings.confidence),
            }
            for cell, rows in systems.items()
        },
    }


def _scored(rows: Mapping[int, Mapping[str, Any]]) -> set[int]:
    return {index for index, row in rows.items() if row["error"] is None}


def _same_rows(human: Mapping[int, Any], rows: Mapping[int, Any], cell: str, path: StrPath) -> None:
    """Both files answer the same rows, and a row's id is the same in both."""
    for index in sorted(set(human) ^ set(rows))[:1]:
        side = "the human answers" if index in human else cell
        raise BadInput(f"row {index} is there for {side} alone", file=path, fix="score both on the same rows")
    for index, row in rows.items():
        if None not in (row["id"], human[index]["id"]) and row["id"] != human[index]["id"]:
            raise BadInput(
                f"found {row['id']!r} for row {index}",
                file=path,
                field="id",
                expected=repr(human[index]["id"]),
                fix="score predictions of the same split",
            )


def _column(rows: Mapping[int, Mapping[str, Any]], common: Sequence[int]) -> np.ndarray:
    return np.array([rows[index]["score"] for index in common], dtype=np.float64)


def _edges(files: Sequence[Mapping[int, Any]], common: Sequence[int], bins: int) -> np.ndarray:
    """Edges of histogram bins over what nearly all scores span; the outer bins take in the rest."""
    scores = np.concatenate([_column(rows, common) for rows in files])
    low, high = np.quantile(scores, [0.005, 0.995])
    return np.linspace(low, high if high > low else low + 1.0, bins + 1)


def _figures(
    rows: Mapping[int, Mapping[str, Any]], common: Sequence[int], edges: np.ndarray
) -> dict[str, Any]:
    scores = _column(rows, common)
    inside = np.clip(scores, edges[0], edges[-1])
    decided = [rows[index]["decision"] == "ai" for index in common]
    return {
        "rows": len(rows),
        "scored": len(_scored(rows)),
        "errors": dict(sorted(Counter(row["error"] for row in rows.values() if row["error"]).items())),
        "ai_rate": float(np.mean(decided)),
        "mean_score": float(scores.mean()),
        "median_score": float(np.median(scores)),
        "histogram": np.histogram(inside, edges)[0].tolist(),
    }


def _against(
    human: np.ndarray, machine: np.ndarray, weights: np.ndarray, confidence: float
) -> dict[str, Any]:
    """How well the scores tell the two apart."""
    value = auroc(human, machine)
    found = interval(weighted_auroc(human, machine, weights, weights), value, confidence, recentre=False)
    low, high = ends(found)
    return {
        "auroc": value,
        "auroc_low": low,
        "auroc_high": high,
        **{name: tpr_at(human, machine, rate) for name, rate in FALSE_POSITIVES.items()},
    }


def summarize_files(
    human_files: Mapping[str, StrPath],
    cells: Sequence[str],
    summaries: Mapping[str, StrPath],
    *,
    language: str,
    settings: Mapping[str, Any],
    seed: int,
) -> list[dict[str, Any]]:
    """Summarize every detector of a language and write the summaries; returns them in order.

    Args:
        human_files: {detector: scores of the human answers}; those of a cell stand beside them as `{cell}.jsonl`.
        summaries: {detector: file to write}.
        settings: bootstrap, confidence and bins.
    """
    typed = Detection.model_validate(dict(settings))
    found = []
    for detector, human_file in human_files.items():
        systems = {cell: Path(human_file).parent / f"{cell}.jsonl" for cell in cells}
        summary = summarize(detector, language, human_file, systems, typed, seed)
        write_json(summaries[detector], summary)
        found.append(summary)
    return found
