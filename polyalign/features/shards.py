"""Shards of a split: runs of rows that are measured in jobs of their own and joined in order.

    shard = Shard.parse("2-of-8")
    start, stop = shard.rows(51_480)

A shard is a run of whole windows, and rows are batched within a window only, so that shards give the same numbers to
the last digit as the whole does. A split of few windows leaves some shards empty.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from polyalign.errors import BadInput
from polyalign.features.table import FeatureWriter, check_combinable, read_feature_chunks, read_origin
from polyalign.files import StrPath

WINDOW_ROWS = 512
"""Rows that are batched together."""
_NAME = re.compile(r"(\d+)-of-(\d+)")


@dataclass(frozen=True)
class Shard:
    """One of `count` parts of a split; the first is number 1."""

    number: int
    count: int

    @classmethod
    def parse(cls, name: str | None) -> "Shard":
        """From a name such as `2-of-8`; None is the whole."""
        match = _NAME.fullmatch(name or "1-of-1")
        if match is None or not 1 <= int(match[1]) <= int(match[2]):
            raise BadInput(f"{name!r} is no shard", expected="a name such as 2-of-8")
        return cls(int(match[1]), int(match[2]))

    def rows(self, total: int) -> tuple[int, int]:
        """First row and the row after the last, of `total` rows."""
        windows = -(-total // WINDOW_ROWS)
        start, stop = (
            (number * windows // self.count) * WINDOW_ROWS for number in (self.number - 1, self.number)
        )
        return min(start, total), min(stop, total)


WHOLE = Shard(1, 1)


def join_features(files: Sequence[StrPath], out: StrPath) -> dict[str, Any]:
    """Join the feature tables of all shards of a split, in order, into one.

    Returns:
        Details for the manifest.

    Raises:
        BadInput: shards of different feature sets, tools or scorers, or out of order.
    """
    origins = [(file, *read_origin(file)) for file in files]
    check_combinable(origins)
    _, names, made_by = origins[0]
    last = -1
    with FeatureWriter(out, names, made_by) as writer:
        for file in files:
            for chunk in read_feature_chunks(file):
                if len(chunk) and int(chunk.source_index[0]) <= last:
                    raise BadInput(
                        f"source_index {int(chunk.source_index[0])} comes after {last}",
                        file=file,
                        expected="the shards of one split in order",
                        fix="measure the shards again",
                    )
                writer.write(chunk)
                last = int(chunk.source_index[-1]) if len(chunk) else last
    return made_by.details(writer.rows, len(names))
