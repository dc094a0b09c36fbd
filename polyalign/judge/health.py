"""How steady a judge is: replies that count for nothing, and what changes when a row is asked again.

Every probe asks for the same judgement in another way (docs/judge.md, Probes), so whatever differs between the two
replies is the judge's own noise.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from polyalign.judge.agreement import weights_of_rows
from polyalign.judge.replies import CUT, OUT_OF_RANGE, TOO_LONG, UNPARSABLE
from polyalign.judge.rubric import Rubric
from polyalign.metrics.bootstrap import ends, interval, ratio, weighted_sums

MAIN = "overall"
"""The composite whose shift a probe is told by."""
Row = Mapping[str, Any]


def reply_health(rows: Iterable[Row]) -> dict[str, int]:
    """How many replies were asked for, and how many of them could not be read or stood outside of the range."""
    errors = Counter(row["error"] for row in rows)
    unread = {name: errors[name] for name in (UNPARSABLE, CUT, OUT_OF_RANGE)}
    return {"asked": errors[None] + sum(unread.values()), **unread, TOO_LONG: errors[TOO_LONG]}


def probe_health(
    asked: Mapping[str, Mapping[int, Row]],
    probes: Sequence[tuple[str, Row]],
    rubric: Rubric,
    *,
    replicates: int,
    confidence: float,
    seed: int,
) -> dict[str, dict[str, Any]]:
    """{probe: figures} over the rows that have a score both times.

    Args:
        asked: {cell: {source_index: row}}.
        probes: (cell, row) of every row that was asked again.

    Returns:
        Of each probe: rows; unchanged, the share with eight equal scores; difference, the mean absolute difference of
        a score; shift and its interval, the mean change of the overall composite.
    """
    found = {}
    for way in dict.fromkeys(row["asked"] for _, row in probes):
        both = [
            (asked[cell][row["source_index"]], row)
            for cell, row in probes
            if row["asked"] == way
            and row["error"] is None
            and asked[cell][row["source_index"]]["error"] is None
        ]
        found[way] = {"rows": len(both), **_changes(both, rubric, replicates, confidence, seed)}
    return found


def _changes(
    both: Sequence[tuple[Row, Row]], rubric: Rubric, replicates: int, confidence: float, seed: int
) -> dict[str, float | None]:
    if not both:
        return dict.fromkeys(("unchanged", "difference", "shift", "shift_low", "shift_high"))
    first, second = (
        np.array([[pair[side]["scores"][name] for name in rubric.dimensions] for pair in both], dtype=float)
        for side in (0, 1)
    )
    main = MAIN if MAIN in rubric.composites else next(iter(rubric.composites))
    shifts = np.array([later["composites"][main] - before["composites"][main] for before, later in both])
    weights = weights_of_rows([before["source_index"] for before, _ in both], replicates, seed)
    means = ratio(*weighted_sums(weights, np.column_stack([shifts, np.ones(len(shifts))])).T)
    found = interval(means, float(shifts.mean()), confidence, recentre=False, bounds=(-100.0, 100.0))
    low, high = ends(found)
    return {
        "unchanged": float((first == second).all(axis=1).mean()),
        "difference": float(np.abs(first - second).mean()),
        "shift": float(shifts.mean()),
        "shift_low": low,
        "shift_high": high,
    }
