"""Part-of-speech features from tagged tokens."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from polyalign.features.names import UNIVERSAL_TAGS
from polyalign.features.units import Units, ratio

CONTENT_TAGS = ("ADJ", "ADV", "NOUN", "VERB")

# Penn tag -> the feature that counts it.
PENN_COUNTS = {
    "MD": "modal",
    "WDT": "wh_word",
    "WP": "wh_word",
    "WP$": "wh_word",
    "WRB": "wh_word",
    "NNP": "proper_noun",
    "NNPS": "proper_noun",
    "VBD": "past_verb",
    "VBG": "gerund_verb",
    "VBN": "past_participle",
    "VBP": "non_3sg_present_verb",
    "VBZ": "third_person_present_verb",
    "VB": "base_verb",
}
_WITH_RATIO = ("modal", "wh_word", "proper_noun")


@dataclass(frozen=True)
class Tags:
    """Tags of all tokens of a batch.

    Attributes:
        ids: [tokens] index into `classes`.
        classes: for each distinct tag its universal tag and its Penn tag ("" where it has no Penn counterpart).
    """

    ids: np.ndarray
    classes: Sequence[tuple[str, str]]

    def count(self, units: Units, wanted: Sequence[bool]) -> np.ndarray:
        """[texts] tokens whose class is wanted; `wanted` has one entry a class."""
        if not len(self.ids):
            return np.zeros(units.count)
        return units.tokens.total(np.array(wanted, dtype=np.float64)[self.ids])


def measure_grammar(units: Units, tags: Tags, stop_words: np.ndarray) -> dict[str, np.ndarray]:
    """Grammar features of a batch, each [texts].

    Args:
        units: the batch.
        tags: its tagged tokens.
        stop_words: [texts] stopword_count, for the lexical density.
    """
    total = units.tokens.lengths
    columns: dict[str, np.ndarray] = {}
    for tag in UNIVERSAL_TAGS:
        counts = tags.count(units, [universal == tag for universal, _ in tags.classes])
        columns[f"pos_{tag.lower()}_count"] = counts
        columns[f"pos_{tag.lower()}_ratio"] = ratio(counts, total)
    for name in dict.fromkeys(PENN_COUNTS.values()):
        counts = tags.count(units, [PENN_COUNTS.get(penn) == name for _, penn in tags.classes])
        columns[f"{name}_count"] = counts
        if name in _WITH_RATIO:
            columns[f"{name}_ratio"] = ratio(counts, total)
    content = sum(columns[f"pos_{tag.lower()}_count"] for tag in CONTENT_TAGS)
    columns["content_word_count"] = content
    columns["content_word_ratio"] = ratio(content, total)
    columns["lexical_density"] = content / np.maximum(1, stop_words + content)
    return columns
