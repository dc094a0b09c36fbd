"""How near two records are: shingles, their Jaccard similarity, and the settings of the pass that looks for it.

Definitions: docs/method.md, Near-duplicates.
"""

import re
from typing import Literal

from pydantic import Field

from polyalign.records import CJK
from polyalign.settings import Settings

_TOKEN = re.compile(rf"[{CJK}]|[^\W_{CJK}]+")


class ShingleSizes(Settings):
    """Tokens of a shingle; a token is a word, a number or one CJK character."""

    en: int = Field(3, ge=1, description="English words")
    zh: int = Field(5, ge=1, description="Chinese characters: about three words")


class NearDuplicates(Settings):
    """The pass that looks for records which differ in a few words."""

    mode: Literal["none", "report", "remove"] = Field(
        "none",
        description="none; report: list them and keep all; remove: keep the best protected one of each",
    )
    threshold: float = Field(
        0.8, gt=0, le=1, description="least exact Jaccard similarity of the shingle sets"
    )
    shingle: ShingleSizes = Field(ShingleSizes(), description="shingle size of each language")
    min_shingles: int = Field(
        10, ge=1, description="shorter questions with answers say too little to be compared"
    )
    permutations: int = Field(128, ge=8, description="length of a MinHash signature")
    recall: float = Field(
        0.98, gt=0, lt=1, description="least chance that a pair at the threshold becomes a candidate"
    )
    bucket_pairs: int = Field(
        50,
        ge=2,
        description="records of one band up to which all are paired; above, each with first and next",
    )


def banding(threshold: float, permutations: int, recall: float) -> tuple[int, int]:
    """(bands, rows a band): the longest bands with which a pair at the threshold is found with that chance.

    A pair of similarity s agrees on one of b bands of r rows with the chance 1 - (1 - s^r)^b.
    """
    for rows in range(permutations, 1, -1):
        bands = permutations // rows
        if 1 - (1 - threshold**rows) ** bands >= recall:
            return bands, rows
    return permutations, 1


def shingles(text: str, size: int) -> set[str]:
    """Runs of `size` tokens of a text, lower-cased, punctuation left out; a shorter text is one shingle."""
    tokens = _TOKEN.findall(text.lower())
    if len(tokens) <= size:
        return {" ".join(tokens)} if tokens else set()
    return set(map(" ".join, zip(*(tokens[start:] for start in range(size)), strict=False)))


def jaccard(one: set[str], other: set[str]) -> float:
    """Shared part of two sets; two empty sets are equal."""
    if not one or not other:
        return float(one == other)
    shared = len(one & other)
    return shared / (len(one) + len(other) - shared)
