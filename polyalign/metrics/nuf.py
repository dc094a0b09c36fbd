"""Naturalness-utility frontier: buckets as points of utility and naturalness, their Pareto frontier and its size.

Definition: docs/method.md, Metrics, NUF. `core` is the published index by principal components; `overall` and
`multi_turn` use fixed scales.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from polyalign.metrics.aggregate import geometric_mean, naturalness

NORMALIZATION = "global_fixed_scale"
UTILITY = "utility_qa_f1"
_TIE = 1e-9
# A larger BNG is worse, so the index takes it negated.
_SIGNS = {"bng": -1.0, "hcr": 1.0, "c_mauve": 1.0, "tdm": 1.0}

Point = dict[str, float | str | None]


def pareto_frontier(rows: Sequence[Point], utility: str, natural: str) -> list[Point]:
    """Rows that no other row beats on both axes, by falling utility; rows with a missing value are left out."""
    whole = [row for row in rows if row[utility] is not None and row[natural] is not None]
    frontier: list[Point] = []
    for row in sorted(whole, key=lambda row: (-row[utility], -row[natural])):
        if not frontier or row[natural] > frontier[-1][natural]:
            frontier.append({"bucket_id": row["bucket_id"], utility: row[utility], natural: row[natural]})
    return frontier


def frontier_area(frontier: Sequence[Point], utility: str, natural: str) -> float | None:
    """Trapezoid area of naturalness over utility under the frontier; None for fewer than two points."""
    if len(frontier) < 2:
        return None
    points = sorted((row[utility], row[natural]) for row in frontier)
    return float(np.trapezoid([y for _, y in points], [x for x, _ in points]))


def hypervolume(
    frontier: Sequence[Point], utility: str, natural: str, reference: tuple[float, float] = (0.0, 0.0)
) -> float | None:
    """Area that the frontier dominates above the reference point; None for an empty frontier."""
    if not frontier:
        return None
    area, floor = 0.0, reference[1]
    for row in sorted(frontier, key=lambda row: -row[utility]):
        if row[utility] > reference[0] and row[natural] > floor:
            area += (row[utility] - reference[0]) * (row[natural] - floor)
            floor = row[natural]
    return area


def hypervolume_replicates(utility: np.ndarray, natural: np.ndarray) -> np.ndarray:
    """Hypervolume above (0, 0) of the frontier of each row of points, (B, points) each -> (B,)."""
    order = np.argsort(-utility, axis=1)
    x = np.take_along_axis(utility, order, axis=1)
    highest = np.maximum.accumulate(np.take_along_axis(natural, order, axis=1), axis=1)
    return ((x - np.append(x[:, 1:], np.zeros((len(x), 1)), axis=1)) * highest).sum(axis=1)


def principal_index(values: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """First principal component of standardized columns as an index in [0, 1].

    Args:
        values: (buckets, components), all finite.

    Returns:
        (index (buckets,), loadings (components,)), or None for fewer than two buckets or no spread at all. The sign is
        the one with a positive sum of loadings; where they cancel out, the last loading is positive.
    """
    if len(values) < 2:
        return None
    deviation = values.std(axis=0)
    scaled = (values - values.mean(axis=0)) / np.where(deviation > 0, deviation, 1.0)
    loadings = np.linalg.svd(scaled, full_matrices=False)[2][0]
    total = loadings.sum()
    if total < -_TIE or (abs(total) <= _TIE and loadings[-1] < 0):
        loadings = -loadings
    scores = scaled @ loadings
    spread = scores.max() - scores.min()
    if spread <= 0:
        return None
    return (scores - scores.min()) / spread, loadings


def index_frontier(rows: Sequence[Point], components: Sequence[str]) -> dict:
    """The published index: `frontier_auc, loadings, frontier_points, by_bucket` over the given components."""
    rows = [dict(row) for row in rows]
    for row in rows:
        for name in components:
            row[f"signed__{name}"] = None if row[name] is None else _SIGNS[name] * row[name]
        row["naturalness_index"] = None
    whole = [row for row in rows if all(row[name] is not None for name in components)]
    values = np.array([[row[f"signed__{name}"] for name in components] for row in whole], dtype=np.float64)
    found = principal_index(values) if components and len(whole) else None
    if found is not None:
        for row, value in zip(whole, found[0], strict=True):
            row["naturalness_index"] = float(value)
    frontier = pareto_frontier(rows, UTILITY, "naturalness_index")
    return {
        "frontier_auc": frontier_area(frontier, UTILITY, "naturalness_index"),
        "loadings": (
            {name: float(value) for name, value in zip(components, found[1], strict=True)} if found else None
        ),
        "frontier_points": frontier,
        "by_bucket": rows,
        "reason": None if found else "fewer than two buckets have every component",
    }


def fixed_frontier(rows: Sequence[Point], components: Sequence[str]) -> dict:
    """The frontier on fixed scales over those of the components that any bucket has."""
    rows = [dict(row) for row in rows]
    present = [name for name in components if any(row.get(name) is not None for row in rows)]
    for row in rows:
        utility = row[UTILITY]
        row["utility_score"] = None if utility is None else float(np.clip(utility, 0.0, 1.0))
        for name in present:
            value = row[name]
            row[f"normalized__{name}"] = naturalness(value) if name == "bng" else value
        parts = [row[f"normalized__{name}"] for name in present]
        whole = bool(parts) and all(part is not None for part in parts)
        row["naturalness_score"] = geometric_mean(parts) if whole else None
    frontier = pareto_frontier(rows, "utility_score", "naturalness_score")
    return {
        "normalization": NORMALIZATION,
        "utility_axis": UTILITY,
        "naturalness_components": list(components),
        "normalized_component_columns": [f"normalized__{name}" for name in present],
        "reference_point": {"utility": 0.0, "naturalness": 0.0},
        "frontier_auc": frontier_area(frontier, "utility_score", "naturalness_score"),
        "hypervolume": hypervolume(frontier, "utility_score", "naturalness_score"),
        "frontier_points": frontier,
        "by_bucket": rows,
        "reason": None if frontier else "no bucket has every naturalness component",
    }


def _null_frontier(components: Sequence[str], reason: str) -> dict:
    return {**fixed_frontier([], components), "reason": reason} | {
        "legacy_frontier_auc": None,
        "legacy_loadings": None,
        "legacy_frontier_points": [],
        "legacy_by_bucket": [],
    }


def frontiers(
    utility: Mapping[str, float],
    bng: Mapping[str, float],
    hcr: Mapping[str, float],
    c_mauve: Mapping[str, float] | None,
    tdm: Mapping[str, float],
) -> dict:
    """`core`, `overall` and `multi_turn` frontiers from {bucket: value} of each metric.

    Args:
        utility: qa_f1 of every bucket.
        c_mauve: None where MAUVE was not taken, so that it is no component.
        tdm: buckets with turn dynamics; empty where there are none, which makes `multi_turn` null with the reason.
    """
    rows: list[Point] = []
    for bucket in sorted(utility):
        row: Point = {"bucket_id": bucket, UTILITY: utility[bucket]}
        row |= {"bng": bng.get(bucket), "hcr": hcr.get(bucket)}
        if c_mauve is not None:
            row["c_mauve"] = c_mauve.get(bucket)
        rows.append({**row, "tdm": tdm.get(bucket)})
    measured = ["bng", "hcr", *(["c_mauve"] if c_mauve is not None else [])]
    multi = [row for row in rows if row["tdm"] is not None]
    if multi:
        legacy = index_frontier(multi, [*measured, "tdm"])
        legacy_keys = ("frontier_auc", "loadings", "frontier_points", "by_bucket")
        multi_turn = fixed_frontier(multi, ["bng", "c_mauve", "tdm"]) | {
            f"legacy_{key}": legacy[key] for key in legacy_keys
        }
    else:
        multi_turn = _null_frontier(["bng", "c_mauve", "tdm"], "no multi-turn bucket has turn dynamics")
    return {
        "core": index_frontier(rows, measured),
        "overall": fixed_frontier(rows, ["bng", "c_mauve"]),
        "multi_turn": multi_turn,
    }
