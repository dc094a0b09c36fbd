"""One number from four: the geometric mean of utility, naturalness, MAUVE and frontier hypervolume.

Definition: docs/method.md, Metrics, aggregate. Which components went in is part of the result; values made
of different components must not be compared.
"""

import math
from collections.abc import Sequence

METHOD = "geometric_mean_global_fixed_scale"
MIN_COMPONENTS = 2


def geometric_mean(values: Sequence[float]) -> float:
    """Geometric mean of non-negative values; 0 as soon as one is 0."""
    if any(value <= 0 for value in values):
        return 0.0
    return math.exp(math.fsum(math.log(value) for value in values) / len(values))


def naturalness(bng: float | None) -> float | None:
    """1 / (1 + BNG): 1 for no gap, towards 0 for a large one."""
    return None if bng is None else 1.0 / (1.0 + bng)


def aggregate(
    qa_f1: float | None, bng_macro: float | None, mauve_global: float | None, nuf_hypervolume: float | None
) -> dict:
    """The aggregate with its raw metrics, components and their number; null below two finite components."""
    raw = {
        "qa_f1": qa_f1,
        "bng_macro": bng_macro,
        "mauve_global": mauve_global,
        "nuf_hypervolume": nuf_hypervolume,
    }
    components = {
        "qa_f1": qa_f1,
        "bng_score": naturalness(bng_macro),
        "mauve_global": mauve_global,
        "nuf_hypervolume": nuf_hypervolume,
    }
    finite = [value for value in components.values() if value is not None and math.isfinite(value)]
    enough = len(finite) >= MIN_COMPONENTS
    return {
        "overall": geometric_mean(finite) if enough else None,
        "method": METHOD,
        "raw_metrics": raw,
        "components": components,
        "component_count": len(finite),
        "reason": None if enough else f"fewer than {MIN_COMPONENTS} components are available",
    }
