"""Features of lexical words: sizes, richness, repetition, syllables, readability and stop words."""

import re
from collections.abc import Collection
from functools import lru_cache

import numpy as np

from polyalign.features.units import Strings, Units, ratio

_ALPHA = re.compile(r"[a-z]+(?:'[a-z]+)?")
_NOT_LETTER = re.compile(r"[^a-z]")
_VOWELS = re.compile(r"[aeiouy]+")


@lru_cache(maxsize=200_000)
def count_syllables(word: str) -> int:
    """Syllables of a lower-case word: vowel runs, less a silent final e, at least 1 (`paper`)."""
    letters = _NOT_LETTER.sub("", word)
    if len(letters) <= 3:
        return int(letters != "")
    count = len(_VOWELS.findall(letters))
    if letters.endswith("e") and not letters.endswith(("le", "ye")) and count > 1:
        count -= 1
    return max(1, count)


def _grams(words: Strings, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Keys of all n-grams that lie within a text, and the texts they belong to."""
    base = max(1, len(words.vocabulary))
    stop = len(words.ids) - size + 1
    if stop <= 0:
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    inside = words.owner[:stop] == words.owner[size - 1 :]
    keys = words.owner[:stop][inside].copy()
    for shift in range(size):
        keys = keys * base + words.ids[shift : stop + shift][inside]
    return keys, words.owner[:stop][inside]


class _Types:
    """Distinct n-grams of each text and how often each occurs there."""

    def __init__(self, words: Strings, size: int) -> None:
        keys, owner = _grams(words, size)
        self.totals = np.bincount(owner, minlength=len(words.lengths)).astype(np.float64)
        _, first, self.counts = np.unique(keys, return_index=True, return_counts=True)
        self.owner = owner[first]

    def tally(self, values: np.ndarray) -> np.ndarray:
        """[texts] sum of `values` [types] over the types of each text."""
        return np.bincount(self.owner, weights=values, minlength=len(self.totals))


def _richness(units: Units) -> dict[str, np.ndarray]:
    words = units.words
    one, two, three = (_Types(words, size) for size in (1, 2, 3))
    total = one.totals
    unique = one.tally(np.ones(len(one.counts)))
    largest = np.zeros(units.count)
    np.maximum.at(largest, one.owner, one.counts)
    shares = one.counts / total[one.owner]
    same = (words.ids[1:] == words.ids[:-1]) & (words.owner[1:] == words.owner[:-1])
    columns = {
        "word_token_count": total,
        "unique_word_count": unique,
        "type_token_ratio": ratio(unique, total),
        "root_ttr": ratio(unique, np.sqrt(total)),
        "corrected_ttr": ratio(unique, np.sqrt(2 * total)),
        "hapax_ratio": ratio(one.tally(one.counts == 1), total),
        "dislegomena_ratio": ratio(one.tally(one.counts == 2), total),
        "repeated_token_ratio": ratio(one.tally(one.counts - 1), total),
        "repeated_bigram_ratio": ratio(two.tally(two.counts - 1), two.totals),
        "adjacent_repeat_count": np.bincount(words.owner[1:][same], minlength=units.count).astype(np.float64),
        "max_token_frequency": largest,
        "max_token_frequency_ratio": ratio(largest, total),
        "shannon_entropy": np.abs(one.tally(-shares * np.log2(shares))),
    }
    for size, types in ((1, one), (2, two), (3, three)):
        columns[f"distinct_{size}"] = ratio(types.tally(np.ones(len(types.counts))), types.totals)
    return columns


def _word_lengths(units: Units) -> dict[str, np.ndarray]:
    words = units.words
    length = words.each(len)
    count = words.lengths
    columns = {"avg_word_length": ratio(words.total(length), count)}
    bands = (("short", length <= 3), ("medium", (length >= 4) & (length <= 6)), ("long", length >= 7))
    for name, inside in (*bands, ("very_long", length >= 11)):
        columns[f"{name}_word_count"] = words.total(inside)
        if name != "medium":
            columns[f"{name}_word_ratio"] = ratio(words.total(inside), count)
    return columns


def _readability(units: Units, characters: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    words = units.words
    alpha = words.each(lambda word: _ALPHA.fullmatch(word) is not None)
    syllables = words.each(lambda word: count_syllables(word) if _ALPHA.fullmatch(word) else 0)
    english = words.total(alpha)
    total = words.lengths
    sentences = np.bincount(units.sentences.owner, minlength=units.count)
    multisyllabic = words.total(syllables >= 3)
    per_sentence = ratio(total, sentences)
    per_word = ratio(words.total(syllables), english)
    readable = {
        "flesch_reading_ease": 206.835 - 1.015 * per_sentence - 84.6 * per_word,
        "flesch_kincaid_grade": 0.39 * per_sentence + 11.8 * per_word - 15.59,
        "gunning_fog": 0.4 * (per_sentence + 100 * ratio(multisyllabic, english)),
        "coleman_liau": 5.88 * ratio(characters["alphabetic_char_count"], english)
        - 29.6 * ratio(sentences, english)
        - 15.8,
        "automated_readability_index": 4.71 * ratio(characters["char_no_space_count"], english)
        + 0.5 * per_sentence
        - 21.43,
        "smog_index": np.where(
            multisyllabic > 0, 1.043 * np.sqrt(30 * ratio(multisyllabic, sentences)) + 3.1291, 0.0
        ),
    }
    return {
        "syllable_count": words.total(syllables),
        "avg_syllables_per_word": per_word,
        "multisyllabic_word_count": multisyllabic,
        "multisyllabic_word_ratio": ratio(multisyllabic, total),
        **{name: np.where(english > 0, values, 0.0) for name, values in readable.items()},
    }


def _stop_words(units: Units, english: Collection[str], chinese: Collection[str]) -> dict[str, np.ndarray]:
    """Stop words over the alphabetic words; where the backend has a Chinese list, over its words too."""
    words = units.words
    alpha = words.each(lambda word: _ALPHA.fullmatch(word) is not None)
    listed = words.each(lambda word: word in english if _ALPHA.fullmatch(word) else word in chinese)
    eligible = words.each(lambda word: not word.isascii()) if chinese else np.zeros_like(alpha)
    stop_words = words.total(listed)
    return {
        "stopword_count": stop_words,
        "stopword_ratio": ratio(stop_words, words.total(alpha + eligible)),
    }


def measure_words(
    units: Units,
    characters: dict[str, np.ndarray],
    stop_words: Collection[str],
    chinese_stop_words: Collection[str],
) -> dict[str, np.ndarray]:
    """Word features of a batch, each [texts]: groups words, readability and stop words of docs/features.md."""
    return {
        **_richness(units),
        **_word_lengths(units),
        **_readability(units, characters),
        **_stop_words(units, stop_words, chinese_stop_words),
    }
