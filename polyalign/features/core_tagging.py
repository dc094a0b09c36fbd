"""Part of speech for `core-v1`: HanTa for English sentences, jieba's dictionary for Chinese words.

Both packages ship their data. HanTa's model has the C5 tags of the British National Corpus, jieba those of the
People's Daily corpus; both are mapped onto the universal tags and the few verb and word classes the features count.
"""

import math
import re
from collections.abc import Sequence
from functools import lru_cache
from operator import itemgetter
from typing import Any

import numpy as np

_MEMO_LIMIT = 300_000
_NUMBER = re.compile(r"[-+]?\d[\d.,:/]*%?")
_LETTER = re.compile(r"[A-Za-z]")
# HanTa's own constants: the state before a word or sentence, the least log-probability, and how much less likely an
# unknown word is to be one long unknown morpheme.
_HANTA_START = 1
_IMPOSSIBLE = -1e6
_WHOLE_WORD_PENALTY = 4.6

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


class _Morphology:
    """HanTa's analysis of an unknown word (`analyze_forward`) with the same result, many times faster.

    HanTa asks for the probability of each part of a word under each tag that may follow. Of 150 tags a part is listed
    under a few, and eight more are guessed by suffix, so here a part has its list of possible tags, looked up once.
    """

    def __init__(self, tagger: Any) -> None:
        self._steps = {state: dict(steps) for state, steps in tagger.LP_trans_nonfinal.items() if steps}
        self._final = tagger.LP_trans_final
        self._start = (tagger.tag2int["EMPTY"], _HANTA_START)
        self._unknown = [(tagger.tag2int["UNKNOWN"], 0)]
        self._listed: dict[str, dict[int, float]] = {}
        for tag, morphemes in tagger.LP_m_t.items():
            for morpheme, logprob in morphemes.items():
                self._listed.setdefault(morpheme, {})[tag] = logprob
        self._guessed = [tag for tag in tagger.LP_hapax_t if tag in tagger.LP_s_t]
        # The model lists the same suffixes under every tag.
        self._suffixes = frozenset.intersection(*(frozenset(tagger.LP_s_t[tag]) for tag in self._guessed))
        self._guessable = {
            state: possible
            for state, steps in self._steps.items()
            if (possible := {tag: step for tag, step in steps.items() if tag in self._guessed})
        }
        self._guesses: dict[tuple[str, int], dict[int, float]] = {}
        self._model = tagger

    def _guess(self, part: str) -> dict[int, float]:
        """{tag: log-probability} of an unlisted part, by its length and its longest known suffix."""
        length = len(part)
        known = self._suffixes
        suffix = ""
        for size in range(min(4, length - 1), 0, -1):
            if part[-size:] in known:
                suffix = part[-size:]
                break
        key = suffix, min(length, 24)
        found = self._guesses.get(key)
        if found is None:
            model = self._model
            found = self._guesses[key] = {
                tag: model.Int_t
                + model.LP_hapax_t[tag]
                + model.LP_len_t[tag][key[1]]
                + model.LP_s_t[tag][suffix]
                for tag in self._guessed
            }
        return found

    def __call__(self, word: str) -> list[tuple[int, float]]:
        """[(tag, log-probability)] of a word, the likeliest first."""
        size = len(word)
        rows: list[dict[tuple[int, int], float]] = [{} for _ in range(size + 1)]
        rows[0][self._start] = 0.0
        for start, row in enumerate(rows[:-1]):
            # As HanTa: only what is near the best three goes on.
            bound = sorted(row.values(), reverse=True)[3] - 1 if len(row) > 3 else -math.inf
            listable = [
                (state[1], score, self._steps[state])
                for state, score in row.items()
                if score >= bound and state in self._steps
            ]
            guessable = [
                (state[1], score, self._guessable[state])
                for state, score in row.items()
                if score >= bound and state in self._guessable
            ]
            if listable:
                for stop in range(start + 1, size + 1):
                    part = word[start:stop]
                    listed = self._listed.get(part)
                    if listed:
                        self._extend(rows[stop], listable, listed, 0.0)
                    if guessable and (size < 4 or stop - start > 2):
                        guesses = self._guess(part)
                        if listed:
                            guesses = {tag: guesses[tag] for tag in guesses if tag not in listed}
                        less = _WHOLE_WORD_PENALTY if stop - start == size else 0.0
                        self._extend(rows[stop], guessable, guesses, less)
        return self._finish(rows[size])

    @staticmethod
    def _extend(
        row: dict[tuple[int, int], float],
        states: list[tuple[int, float, dict[int, float]]],
        tags: dict[int, float],
        less: float,
    ) -> None:
        """Add to `row` every state that a part with these tags leads to."""
        for before, score, steps in states:
            for tag in tags.keys() & steps.keys():
                total = score + steps[tag] + (tags[tag] - less)
                new = (before, tag)
                if total > _IMPOSSIBLE and total > row.get(new, -math.inf):
                    row[new] = total

    def _finish(self, row: dict[tuple[int, int], float]) -> list[tuple[int, float]]:
        """Tags of the whole word from the states after its last letter."""
        last: dict[tuple[int, int], float] = {}
        for state, score in row.items():
            for tag, step in self._final.get(state, ()):
                new, total = (state[1], tag), score + step
                if total > _IMPOSSIBLE and total > last.get(new, -math.inf):
                    last[new] = total
        scores: dict[int, float] = {}
        for (_, tag), total in last.items():
            scores[-tag] = float(np.logaddexp(scores[-tag], total)) if -tag in scores else total
        return sorted(scores.items(), key=itemgetter(1), reverse=True) or self._unknown


class HantaTagger:
    """C5 tags of English sentences: HanTa's model and word probabilities, decoded by a trigram Viterbi search.

    HanTa's own search walks every possible tag for every token; this one walks only the tags its lexicon and
    morphology allow a word, which yields the same best path faster. Two kinds of words
    skip the morphology of unknown words: numbers are CRD, and words of which no character is an ASCII letter are
    punctuation or UNC.

    Args:
        tagger: a loaded HanTa.HanoverTagger.HanoverTagger.
    """

    def __init__(self, tagger: Any) -> None:
        self._tagger = tagger
        self._start, self._end = tagger.tag2int["EMPTY"], tagger.tag2int["END"]
        self._words: dict[tuple[str, bool], list[tuple[int, float]]] = {}
        # Unknown words are analysed in lower case, whatever their case and place.
        tagger.analyze_forward = lru_cache(maxsize=_MEMO_LIMIT)(_Morphology(tagger))

    def _by_form(self, word: str) -> str | None:
        """The tag of a word that needs no analysis."""
        if word.lower() in self._tagger.cache:
            return None
        if _NUMBER.fullmatch(word):
            return "CRD"
        if not _LETTER.search(word):
            return "UNC" if any(map(str.isalnum, word)) else "PUN"
        return None

    def _candidates(self, word: str, first: bool) -> list[tuple[int, float]]:
        """[(tag, log-probability)] of a word; empty where any tag will do."""
        key = (word, first)
        known = self._words.get(key)
        if known is None:
            if len(self._words) > _MEMO_LIMIT:
                self._words.clear()
            fixed = self._by_form(word)
            if fixed:
                known = [(self._tagger.tag2int[fixed], 0.0)]
            else:
                known = self._tagger._tag_word(word, cutoff=5, casesensitive=not first, conditional=True)
            unknown = self._tagger.tag2int["UNKNOWN"]
            known = [] if [tag for tag, _ in known] == [unknown] else list(dict(known).items())
            self._words[key] = known
        return known

    def __call__(self, sentence: Sequence[str]) -> list[str]:
        """C5 tag of each token of one sentence."""
        if not sentence:
            return []
        transitions, end = self._tagger.LP_trans_word, self._end
        row: dict[tuple[int, int], float] = {(self._start, _HANTA_START): 0.0}
        back: list[dict[tuple[int, int], tuple[int, int]]] = []
        for place, word in enumerate(sentence):
            wanted = self._candidates(word, place == 0)
            bound = sorted(row.values(), reverse=True)[5] - 1 if len(row) > 5 else -math.inf
            following: dict[tuple[int, int], float] = {}
            source: dict[tuple[int, int], tuple[int, int]] = {}
            for state, score in row.items():
                if score < bound:
                    continue
                steps = transitions[state]
                for tag, logprob in wanted or [(tag, 0.0) for tag in steps if tag != end]:
                    step = steps.get(tag)
                    if step is None:
                        continue
                    total = score + step + logprob
                    new = (state[1], tag)
                    if total > following.get(new, _IMPOSSIBLE):
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
