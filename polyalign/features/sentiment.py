"""VADER sentiment of whole texts, with the analyzer of NLTK (`paper-v1`) or of vaderSentiment (`core-v1`).

The analyzers' own functions score every word that is in the lexicon and every text; only the preparation, which looks
the same words up again and again, is done here once a distinct word.
"""

import string
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Polarity = tuple[float, float, float, float]
"""Negative, neutral and positive share, and the compound score."""

EMPTY: Polarity = (0.0, 0.0, 0.0, 0.0)

_MEMO_LIMIT = 300_000
_PUNCTUATION = frozenset(string.punctuation)


@dataclass(frozen=True)
class _Words:
    """What the analyzers read of a text: its words, and whether some but not all are in capitals."""

    words_and_emoticons: list[str]
    is_cap_diff: bool


class _BareWords(dict[str, str]):
    """Whitespace-separated pieces as the analyzer sees them, each stripped once."""

    def __init__(self, strip: Callable[[str], str]) -> None:
        super().__init__()
        self._strip = strip

    def __missing__(self, piece: str) -> str:
        if len(self) > _MEMO_LIMIT:
            self.clear()
        self[piece] = bare = self._strip(piece)
        return bare


def _mixed_capitals(words: Sequence[str]) -> bool:
    capitals = sum(map(str.isupper, words))
    return 0 < capitals < len(words)


def _scores(result: Mapping[str, float]) -> Polarity:
    return result["neg"], result["neu"], result["pos"], result["compound"]


def _is_scored(words: Sequence[str], place: int, lower: str, boosters: Collection[str]) -> bool:
    """Whether a lexicon word has a valence of its own: boosters and the kind of "kind of" have none."""
    before_of = lower == "kind" and place < len(words) - 1 and words[place + 1].lower() == "of"
    return not (before_of or lower in boosters)


class NltkSentiment:
    """Polarity of texts, equal to `nltk.sentiment.vader.SentimentIntensityAnalyzer.polarity_scores`.

    NLTK takes punctuation off a word when exactly one mark of its list precedes or follows a bare word, and gives every
    occurrence of a word in a text the score of the first one.
    """

    def __init__(self, analyzer: Any) -> None:
        self._analyzer = analyzer
        self._marks = frozenset(analyzer.constants.PUNC_LIST)
        self._boosters = analyzer.constants.BOOSTER_DICT
        self._bare = _BareWords(self._strip)

    def _strip(self, piece: str) -> str:
        for word in (piece.rstrip(string.punctuation), piece.lstrip(string.punctuation)):
            mark = piece.replace(word, "", 1)
            bare = len(word) > 1 and not _PUNCTUATION.intersection(word)
            if bare and mark in self._marks:
                return word
        return piece

    def __call__(self, text: str) -> Polarity:
        words = [self._bare[piece] for piece in text.split() if len(piece) > 1]
        view = _Words(words, _mixed_capitals(words))
        lexicon = self._analyzer.lexicon
        first: dict[str, float] = {}
        sentiments = []
        for place, word in enumerate(words):
            valence = first.get(word)
            if valence is None:
                valence = 0
                lower = word.lower()
                if lower in lexicon and _is_scored(words, place, lower, self._boosters):
                    valence = self._analyzer.sentiment_valence(0, view, word, place, [])[0]
                first[word] = valence
            sentiments.append(valence)
        sentiments = self._analyzer._but_check(words, sentiments)
        return _scores(self._analyzer.score_valence(sentiments, text))


class PackageSentiment:
    """Polarity of texts, equal to `vaderSentiment.vaderSentiment.SentimentIntensityAnalyzer.polarity_scores`.

    Args:
        analyzer: a `SentimentIntensityAnalyzer` of the package.
        boosters: its `BOOSTER_DICT`.
    """

    def __init__(self, analyzer: Any, boosters: Collection[str]) -> None:
        self._analyzer = analyzer
        self._boosters = boosters
        self._bare = _BareWords(self._strip)

    @staticmethod
    def _strip(piece: str) -> str:
        bare = piece.strip(string.punctuation)
        return bare if len(bare) > 2 else piece

    def __call__(self, text: str) -> Polarity:
        if not text.isascii() and not self._analyzer.emojis.keys().isdisjoint(text):
            # Emoji are spelled out first; the package does that.
            return _scores(self._analyzer.polarity_scores(text))
        words = [self._bare[piece] for piece in text.split()]
        mixed = _mixed_capitals(words)
        lexicon = self._analyzer.lexicon
        sentiments: list[float] = []
        for place, word in enumerate(words):
            lower = word.lower()
            if lower in lexicon and _is_scored(words, place, lower, self._boosters):
                # The rules look at most three words back and two ahead, but take time for every word they are given.
                start = max(0, place - 3)
                view = _Words(words[start : place + 3], mixed)
                sentiments = self._analyzer.sentiment_valence(0, view, word, place - start, sentiments)
            else:
                sentiments.append(0)
        sentiments = self._analyzer._but_check(words, sentiments)
        return _scores(self._analyzer.score_valence(sentiments, text))


def measure_sentiment(texts: Sequence[str], polarity: Callable[[str], Polarity]) -> dict[str, np.ndarray]:
    """The four VADER features, each [texts]; all 0 for an empty text."""
    scores = np.array([polarity(text) if text else EMPTY for text in texts], dtype=np.float64).reshape(-1, 4)
    names = ("vader_neg", "vader_neu", "vader_pos", "vader_compound")
    return {name: scores[:, column] for column, name in enumerate(names)}
