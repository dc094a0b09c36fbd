"""Figures of the judges for one language: means and composites by cell, dataset and bucket, health and agreement.

    summarize({"qwen3-8b": {"en_sft_tiny": (rows, probes)}}, "en", settings, seed=42)

Every mean of a judge is taken on the rows that it scored for all cells. Definitions: docs/method.md, Judge, detectors
and human evaluation; what the figures mean: docs/judge.md.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from polyalign.errors import BadInput
from polyalign.files import StrPath, read_jsonl, write_json
from polyalign.judge.agreement import agreement, scored
from polyalign.judge.health import probe_health, reply_health
from polyalign.judge.replies import counts
from polyalign.judge.rubric import HIGHEST, LOWEST, Rubric, load_rubric
from polyalign.judge.settings import Judges
from polyalign.methods import refuse_oracles
from polyalign.metrics.bootstrap import Draws, draw_weights, ends, interval, ratio, weighted_sums

SCHEMA_VERSION = 1
LEAST_STRATUM = 10
"""Buckets of fewer rows are resampled together: within a bucket of one row nothing would ever vary."""
FEWEST = 5
"""Groups of fewer rows have no interval."""
Rows = dict[int, dict[str, Any]]


def read_judgements(path: StrPath) -> Rows:
    """{source_index: row} of a file of judgements.

    Raises:
        BadInput: a row that is there twice, or has neither scores nor an error.
    """
    found: Rows = {}
    for line, row in read_jsonl(path):
        index = row.get("source_index")
        if not isinstance(index, int) or index in found:
            raise BadInput(
                f"found {index!r}", file=path, row=line, field="source_index", expected="each row number once"
            )
        _check_judged(path, line, row)
        found[index] = row
    if not found:
        raise BadInput("no judgements", file=path, fix="judge the cell again")
    return found


def _check_judged(path: StrPath, line: int, row: Mapping[str, Any]) -> None:
    known = all(name in row for name in ("scores", "composites", "error", "bucket_id", "dataset", "asked"))
    if not known or (row["scores"] is None) != bool(row["error"]):
        raise BadInput(
            "neither scores nor an error, or both", file=path, row=line, expected="a line of `judge`"
        )


def read_probes(path: StrPath) -> list[dict[str, Any]]:
    """Rows that were asked again; there may be none."""
    found = []
    for line, row in read_jsonl(path):
        _check_judged(path, line, row)
        found.append(row)
    return found


def summarize(
    judged: Mapping[str, Mapping[str, tuple[StrPath, StrPath | None]]],
    language: str | None,
    settings: Judges,
    seed: int,
) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
    """({judge: its summary}, agreement of the judges).

    Args:
        judged: {judge: {cell: (judgements, those of probes or None)}}.
        settings: bootstrap and confidence.

    Raises:
        BadInput: an oracle among the cells, files of different rows, or no row that a judge scored for every cell.
    """
    rubric = load_rubric()
    statistics = {"replicates": settings.bootstrap, "confidence": settings.confidence, "seed": seed}
    tables: dict[str, dict[str, Rows]] = {}
    found = {}
    for judge, files in judged.items():
        refuse_oracles(files)
        cells = {cell: read_judgements(path) for cell, (path, _) in files.items()}
        _same_rows(cells, files, tables)
        probes = [(cell, row) for cell, (_, path) in files.items() if path for row in read_probes(path)]
        tables[judge] = cells
        found[judge] = {
            "schema_version": SCHEMA_VERSION,
            "judge": judge,
            "language": language,
            "rubric": {"version": rubric.version, "sha256": rubric.digest()},
            "intervals": statistics,
            **_figures(cells, files, rubric, **statistics),
            "health": {
                "replies": reply_health(row for rows in cells.values() for row in rows.values()),
                "probe_replies": reply_health(row for _, row in probes),
                "probes": probe_health(cells, probes, rubric, **statistics),
            },
        }
    return found, {
        "schema_version": SCHEMA_VERSION,
        "language": language,
        "intervals": statistics,
        **agreement(tables, rubric, **statistics),
    }


def _same_rows(
    cells: Mapping[str, Rows],
    files: Mapping[str, tuple[StrPath, Any]],
    others: Mapping[str, Mapping[str, Rows]],
) -> None:
    """All cells of all judges have the same rows, and a row has one id."""
    first = next(iter(next(iter(others.values())).values())) if others else next(iter(cells.values()))
    for cell, rows in cells.items():
        for index in sorted(set(first) ^ set(rows))[:1]:
            raise BadInput(
                f"row {index} is judged for some cells or by some judges alone",
                file=files[cell][0],
                fix="judge all on the same rows",
            )
        for index, row in rows.items():
            if row["id"] != first[index]["id"]:
                raise BadInput(
                    f"found {row['id']!r} for row {index}",
                    file=files[cell][0],
                    field="id",
                    expected=repr(first[index]["id"]),
                    fix="judge all on the same split",
                )


def _figures(
    cells: Mapping[str, Rows],
    files: Mapping[str, tuple[StrPath, Any]],
    rubric: Rubric,
    *,
    replicates: int,
    confidence: float,
    seed: int,
) -> dict[str, Any]:
    """Common rows and, by cell, counts and means in all, by dataset and by bucket."""
    common = sorted(set.intersection(*(scored(rows) for rows in cells.values())))
    if not common:
        raise BadInput(
            "no row has a score for every cell",
            file=next(iter(files.values()))[0],
            fix="see the errors in the files of judgements",
        )
    one = next(iter(cells.values()))
    buckets = np.array([one[index]["bucket_id"] for index in common])
    datasets = np.array([one[index]["dataset"] for index in common])
    draws = draw_weights(_strata(buckets), replicates, seed) if replicates else {}
    found = {}
    for cell, rows in cells.items():
        kept = [{**rows[index]["scores"], **rows[index]["composites"]} for index in common]
        values = np.array([[row[name] for name in rubric.score_names] for row in kept], dtype=float)
        found[cell] = {
            **counts(rows.values()),
            "means": _means(values, np.ones(len(common), dtype=bool), draws, rubric, confidence),
            **{
                kind: {
                    str(name): _means(values, labels == name, draws, rubric, confidence)
                    for name in np.unique(labels)
                }
                for kind, labels in (("by_dataset", datasets), ("by_bucket", buckets))
            },
        }
    return {"rows": len(one), "common_rows": len(common), "cells": found}


def _strata(buckets: np.ndarray) -> np.ndarray:
    """What rows are resampled within: their bucket, or all small buckets together."""
    names, place, sizes = np.unique(buckets, return_inverse=True, return_counts=True)
    return np.where(sizes < LEAST_STRATUM, "small buckets", names)[place]


def _means(
    values: np.ndarray, member: np.ndarray, draws: Draws, rubric: Rubric, confidence: float
) -> dict[str, Any]:
    """Mean and interval of every score and composite over some of the rows.

    Args:
        values: (n, names).
        member: which rows, bool (n,).
    """
    names = rubric.score_names
    total = np.zeros((1, len(names)))
    count = np.zeros((1, 1))
    for rows, weights in draws.values():
        inside = member[rows]
        if inside.any():
            total = total + weighted_sums(weights[:, inside], values[rows[inside]])
            count = count + weights[:, inside].sum(axis=1, dtype=np.int64)[:, None]
    enough = draws and member.sum() >= FEWEST
    replicates = ratio(total, count) if enough else np.empty((0, len(names)))
    found: dict[str, Any] = {"rows": int(member.sum())}
    for column, name in enumerate(names):
        bounds = (LOWEST, HIGHEST) if name in rubric.dimensions else (0.0, 100.0)
        estimate = float(values[member, column].mean())
        low, high = ends(interval(replicates[:, column], estimate, confidence, recentre=False, bounds=bounds))
        found[name] = {"estimate": estimate, "low": low, "high": high}
    return found


def summarize_files(
    judged: Mapping[str, Sequence[StrPath]],
    cells: Sequence[str],
    summaries: Mapping[str, StrPath],
    agreement_file: StrPath,
    *,
    language: str,
    settings: Mapping[str, Any],
    seed: int,
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Summarize every judge of a language and write the summaries and their agreement; returns both.

    Args:
        judged: {judge: judgements of the cells}; those of probes stand beside each as `{cell}.probes.jsonl`.
        summaries: {judge: file to write}.
        settings: bootstrap and confidence.
    """
    typed = Judges.model_validate(dict(settings))
    files = {
        judge: {
            cell: (path, Path(path).with_name(f"{cell}.probes.jsonl"))
            for cell, path in zip(cells, paths, strict=True)
        }
        for judge, paths in judged.items()
    }
    found, shared = summarize(files, language, typed, seed)
    for judge, summary in found.items():
        write_json(summaries[judge], summary)
    write_json(agreement_file, shared)
    return list(found.values()), shared
