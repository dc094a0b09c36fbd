"""Part of speech for `core-v1`: HanTa for English sentences, jieba's dictionary for Chinese words.

Both packages ship their data. HanTa's model has the C5 tags of the British National Corpus, jieba those of the
People's Daily corpus; both are mapped onto the universal tags and the few verb and word classes the features count.
"""

import math
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

_MEMO_LIMIT = 300_000
_NUMBER = re.compile(r"[-+]?\d[\d.,:/]*%?")
_LETTER = re.compile(r"[A-Za-z]")

# C5 tag -> (universal tag, Penn-like class or "").
C5_CLASSES: dict[str, tuple[str, str]] = {
    "AJ0": ("ADJ", ""), "AJC": ("ADJ", ""), "AJS": ("ADJ", ""), "ORD": ("ADJ", ""),
    "AV0": ("ADV", ""), "AVP": ("PRT", ""), "AVQ": ("ADV", "WRB"), "XX0": ("ADV", ""),
    "PRF": ("ADP", ""), "PRP": ("ADP", ""), "CJC": ("CONJ", ""), "CJS": ("ADP", ""), "CJT": ("ADP", ""),
    "AT0": ("DET", ""), "DPS": ("PRON", ""), "DT0": ("DET", ""), "DTQ": ("DET", "WDT"), "EX0": ("DET", ""),
    "NN0": ("NOUN", ""), "NN1": ("NOUN", ""), "NN2": ("NOUN", ""), "NP0": ("NOUN", "NNP"),
    "CRD": ("NUM", ""), "PNI": ("PRON", ""), "PNP": ("PRON", ""), "PNQ": ("PRON", "WP"), "PNX": ("PRON", ""),
    "POS": ("PRT", ""), "TO0": ("PRT", ""), "VM0": ("VERB", "MD"),
    "ITJ": ("X", ""), "UNC": ("X", ""), "ZZ0": ("X", ""),
    "PUL": (".", ""), "PUN": (".", ""), "PUQ": (".", ""), "PUR": (".", ""),
}  # fmt: skip
# The last letter of a C5 verb tag is its form; VB, VD, VH and VV are be, do, have and the others.
for _verb in ("VB", "VD", "VH", "VV"):
    for _form, _penn in (("B", "VBP"), ("D", "VBD"), ("G", "VBG"), ("I", "VB"), ("N", "VBN"), ("Z", "VBZ")):
        C5_CLASSES[_verb + _form] = ("VERB", _penn)

# First letter of a jieba tag -> universal tag; others (idioms, interjections, unknown words) are X.
_JIEBA_UNIVERSAL = {
    "a": "ADJ", "b": "ADJ", "z": "ADJ", "d": "ADV", "p": "ADP", "c": "CONJ", "n": "NOUN", "s": "NOUN", "t": "NOUN",
    "f": "NOUN", "m": "NUM", "q": "NOUN", "r": "PRON", "u": "PRT", "y": "PRT", "k": "PRT", "h": "PRT", "v": "VERB",
}  # fmt: skip
_JIEBA_NAMES = ("nr", "ns", "nt", "nz")


def jieba_class(tag: str) -> tuple[str, str]:
    """(universal tag, Penn-like class) of a jieba tag; names of people, places and organisations are NNP."""
    return _JIEBA_UNIVERSAL.get(tag[:1], "X"), "NNP" if tag[:2] in _JIEBA_NAMES else ""


class HantaTagger:
    """C5 tags of English sentences: HanTa's model and word probabilities, decoded by a trigram Viterbi search.

    HanTa's own search walks every possible tag for every token; this one walks only the tags its lexicon and
    morphology allow a word, which yields the same best path faster. Two kinds of words skip the slow morphology of
    unknown words: numbers are CRD, and words of which no character is an ASCII letter are punctuation or UNC.

    Args:
        tagger: a loaded HanTa.HanoverTagger.HanoverTagger.
    """

    def __init__(self, tagger: Any) -> None:
        self._tagger = tagger
        self._start, self._end = tagger.tag2int["EMPTY"], tagger.tag2int["END"]
        self._words: dict[tuple[str, bool], dict[int, float]] = {}
        # Unknown words are analysed in lower case, whatever their case and place.
        tagger.analyze_forward = lru_cache(maxsize=_MEMO_LIMIT)(tagger.analyze_forward)

    def _by_form(self, word: str) -> str | None:
        """The tag of a word that needs no analysis."""
        if word.lower() in self._tagger.cache:
            return None
        if _NUMBER.fullmatch(word):
            return "CRD"
        if not _LETTER.search(word):
            return "UNC" if any(map(str.isalnum, word)) else "PUN"
        return None

    def _candidates(self, word: str, first: bool) -> dict[int, float]:
        key = (word, first)
        known = self._words.get(key)
        if known is None:
            if len(self._words) > _MEMO_LIMIT:
                self._words.clear()
            fixed = self._by_form(word)
            if fixed:
                known = {self._tagger.tag2int[fixed]: 0.0}
            else:
                known = dict(
                    self._tagger._tag_word(word, cutoff=5, casesensitive=not first, conditional=True)
                )
            if list(known) == [self._tagger.tag2int["UNKNOWN"]]:
                known = {}
            self._words[key] = known
        return known

    def __call__(self, sentence: Sequence[str]) -> list[str]:
        """C5 tag of each token of one sentence."""
        if not sentence:
            return []
        transitions = self._tagger.LP_trans_word
        end = self._end
        row: dict[tuple[int, int], float] = {(self._start, 1): 0.0}
        back: list[dict[tuple[int, int], tuple[int, int]]] = []
        for place, word in enumerate(sentence):
            wanted = self._candidates(word, place == 0)
            bound = sorted(row.values(), reverse=True)[5] - 1 if len(row) > 5 else -math.inf
            following: dict[tuple[int, int], float] = {}
            source: dict[tuple[int, int], tuple[int, int]] = {}
            for state, score in row.items():
                if score < bound:
                    continue
                step = transitions[state]
                for tag in wanted or step:
                    move = step.get(tag)
                    if move is None or tag == end:
                        continue
                    total = score + move + wanted.get(tag, 0.0)
                    new = (state[1], tag)
                    if total > -1e6 and total > following.get(new, -math.inf):
                        following[new] = total
                        source[new] = state
            row = following
            back.append(source)
        best = max(row, key=lambda state: row[state] + transitions[state].get(end, -math.inf))
        tags = []
        for source in reversed(back):
            tags.append(best[1])
            best = source[best]
        return [self._tagger.int2tag[tag] for tag in reversed(tags)]
