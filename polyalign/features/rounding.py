"""Rounding of feature values, as published."""

import numpy as np

DECIMALS = 6


def round_decimals(values: np.ndarray) -> np.ndarray:
    """Round to 6 decimals exactly as Python's round does on each value (numpy's own differs near a half)."""
    scaled = values * 10.0**DECIMALS
    rounded = np.rint(scaled) / 10.0**DECIMALS
    unsure = np.abs(np.abs(scaled - np.floor(scaled)) - 0.5) < 1e-3
    rounded[unsure] = [round(float(value), DECIMALS) for value in values[unsure]]
    return rounded
