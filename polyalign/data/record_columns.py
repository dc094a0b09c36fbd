"""Columns of record tables as plain lists, without a Python object a cell where it can be avoided."""

from itertools import pairwise

import pyarrow as pa


def history_rows(column: pa.ListArray) -> list[list[tuple[str, str]]]:
    """(role, text) turns of each row of a dialogue_history column.

    A turn that is null in the column is an error of the writer, so nulls are not looked for.
    """
    turns = column.flatten()
    pairs = list(zip(turns.field("role").to_pylist(), turns.field("text").to_pylist(), strict=True))
    # flatten() starts at the first row of a slice; offsets do not.
    offsets = column.offsets.to_pylist()
    base = offsets[0]
    return [pairs[start - base : end - base] for start, end in pairwise(offsets)]
