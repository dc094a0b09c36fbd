"""Score the human answers or the predictions of a split with a detector, one JSON line a row.

python -m polyalign detect --predictions test.jsonl --detector binoculars --model A --model B --out scores.jsonl
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from polyalign.answer_texts import Text, human_texts, predicted_texts
from polyalign.detection.protocol import NO_ANSWER, Detector, Verdict
from polyalign.detection.settings import ROLES, Detection
from polyalign.errors import BadInput, PolyAlignError
from polyalign.files import StrPath, write_jsonl
from polyalign.settings import read_settings

ENOUGH_ROWS = 10
"""Fewer rows may well have one score by chance."""


def load_detector(
    name: str,
    folders: Mapping[str, StrPath],
    settings: Detection,
    *,
    dtypes: Mapping[str, str] | None = None,
    seed: int = 42,
) -> Detector:
    """A detector with its models.

    Args:
        name: one of `polyalign.detection.settings.DETECTORS`.
        folders: {role: model folder}.
        dtypes: {role: precision of the weights}; float32 where it is not given.
        seed: of what a detector draws.

    Raises:
        BadInput: an unknown name, a role without a folder, no model in it, or models that do not fit each other.
    """
    if name not in ROLES:
        raise BadInput(f"no detector {name!r}", expected=f"one of {', '.join(ROLES)}")
    missing = [role for role in ROLES[name] if role not in folders]
    if missing:
        raise BadInput(
            f"{name} has no {' and no '.join(missing)}", expected=f"models: {', '.join(ROLES[name])}"
        )
    if name == "radar":
        from polyalign.detection.classifier import RadarDetector

        return RadarDetector(folders, settings, dtypes)
    if name == "detectgpt":
        from polyalign.detection.perturbation import DetectGptDetector

        return DetectGptDetector(folders, settings, dtypes, seed)
    from polyalign.detection.likelihood import BinocularsDetector, FastDetectGptDetector

    kinds = {kind.name: kind for kind in (BinocularsDetector, FastDetectGptDetector)}
    return kinds[name](folders, settings, dtypes)


def detect_texts(detector: Detector, texts: Sequence[Text], out: StrPath) -> dict[str, Any]:
    """Score texts and write a line for each: its verdict, or why it has none.

    Returns:
        Counts, rate of machine decisions and mean score, for the manifest.

    Raises:
        PolyAlignError: scores that are no numbers, or the same for every text, with their count; nothing is written.
    """
    there = [text for text in texts if text.text is not None]
    verdicts = dict(zip(there, detector.detect([text.text for text in there]), strict=True))
    results = [verdicts.get(text, NO_ANSWER) for text in texts]
    scored = [result for result in results if isinstance(result, Verdict)]
    check_scores(scored, detector.name, Path(out).stem)
    write_jsonl(out, [_row(text, result) for text, result in zip(texts, results, strict=True)])
    errors = Counter(result for result in results if isinstance(result, str))
    return {
        "detector": detector.name,
        "rows": len(texts),
        "scored": len(scored),
        "errors": dict(sorted(errors.items())),
        "ai_rate": _mean([verdict.decision == "ai" for verdict in scored]),
        "mean_score": _mean([verdict.score for verdict in scored]),
        "windowed": sum(verdict.windows > 1 for verdict in scored),
        "settings": detector.describe(),
    }


def check_scores(verdicts: Sequence[Verdict], detector: str, label: str) -> None:
    """Raise `PolyAlignError` for scores that are no finite numbers or do not differ."""
    numbers = [(verdict.raw, verdict.score) for verdict in verdicts]
    bad = sum(not (math.isfinite(raw) and math.isfinite(score)) for raw, score in numbers)
    if bad:
        raise PolyAlignError(
            f"{detector} on {label}: {bad:,} of {len(numbers):,} scores are no finite numbers; "
            "fix: load the models in float32 or bfloat16, or check their weights"
        )
    if len(numbers) >= ENOUGH_ROWS and len({score for _, score in numbers}) == 1:
        raise PolyAlignError(
            f"{detector} on {label}: all {len(numbers):,} scores are {numbers[0][1]:g}; "
            "fix: check the texts and the detector's models"
        )


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None


def _row(text: Text, result: Verdict | str) -> dict[str, Any]:
    row: dict[str, Any] = {"source_index": text.source_index, "id": text.id}
    if isinstance(result, str):
        nothing = dict.fromkeys(("raw", "score", "threshold", "p_ai", "decision"))
        return {**row, **nothing, "tokens": 0, "windows": 0, "error": result}
    return {
        **row,
        "raw": result.raw,
        "score": result.score,
        "threshold": result.threshold,
        "p_ai": result.p_ai,
        "decision": result.decision,
        "tokens": result.tokens,
        "windows": result.windows,
        "error": None,
    }


def detect_files(
    detector: str,
    folders: Mapping[str, tuple[StrPath, str]],
    records: StrPath,
    files: Mapping[StrPath, StrPath | None],
    *,
    settings: Mapping[str, Any],
    seed: int,
) -> dict[StrPath, dict[str, Any]]:
    """Score the human answers of a split and predictions of it with one detector, loaded once.

    Args:
        folders: {role: (model folder, precision)}.
        records: the split.
        files: {file of scores to write: predictions, or None for the human answers}.
        settings: values of `polyalign.detection.settings.Detection`.
        seed: of the rows and of what the detector draws.

    Returns:
        {file: details}, see `detect_texts`.
    """
    typed = Detection.model_validate(dict(settings))
    places = {role: place for role, (place, _) in folders.items()}
    dtypes = {role: dtype for role, (_, dtype) in folders.items()}
    loaded = load_detector(detector, places, typed, dtypes=dtypes, seed=seed)
    found = {}
    for out, predictions in files.items():
        texts = (
            human_texts(records, typed.rows, seed)
            if predictions is None
            else predicted_texts(predictions, records, typed.rows, seed)
        )
        found[out] = {"file": str(out), **detect_texts(loaded, texts, out)}
    return found


def detect_file(
    detector: str,
    models: Sequence[StrPath],
    out: StrPath,
    predictions: StrPath | None,
    records: StrPath | None,
    *,
    long_texts: str,
    seed: int,
) -> str:
    """Score predictions, or the human answers of records, with models in the order of `ROLES`; says what was found.

    Raises:
        BadInput: neither predictions nor records, or another number of models than the detector has.
    """
    roles = ROLES.get(detector, ())
    if roles and len(models) != len(roles):
        raise BadInput(
            f"{len(models)} model folders for {detector}", expected="--model for " + " and ".join(roles)
        )
    if predictions is None and records is None:
        raise BadInput("no texts", fix="give --predictions, or --records for the human answers")
    settings = read_settings(Detection, {"long_texts": long_texts}, file="options", docs="docs/detection.md")
    loaded = load_detector(detector, dict(zip(roles, models, strict=False)), settings, seed=seed)
    texts = human_texts(records, None, seed) if predictions is None else predicted_texts(predictions, records)
    details = detect_texts(loaded, texts, out)
    errors = "".join(f", {count:,} {reason}" for reason, count in details["errors"].items())
    rate = "" if details["ai_rate"] is None else f", {details['ai_rate']:.1%} decided machine"
    return f"{details['scored']:,} of {details['rows']:,} texts scored{errors}{rate}"
