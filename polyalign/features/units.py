"""What every text feature counts: characters, tokens, lexical words and sentences of a batch of texts, as flat arrays.

A batch is measured column by column: each kind of unit of all texts stands in one array, with the number of the text it
belongs to, so that a count for all texts is one array operation.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from polyalign.features.tokens import LEXICAL, has_cjk


class _Numbering(dict[str, int]):
    """Numbers strings in the order in which they first come."""

    def __missing__(self, text: str) -> int:
        self[text] = number = len(self)
        return number


@dataclass(frozen=True)
class Strings:
    """Lists of strings, one list a text, over a shared vocabulary.

    Attributes:
        vocabulary: the distinct strings.
        ids: [items] index into `vocabulary` of every string, the lists one after another.
        offsets: [texts + 1] where each text's list starts in `ids`.
        owner: [items] the text that each item belongs to.
    """

    vocabulary: list[str]
    ids: np.ndarray
    offsets: np.ndarray
    owner: np.ndarray

    @classmethod
    def of(cls, lists: Sequence[Sequence[str]]) -> "Strings":
        """Number the strings of `lists`."""
        numbers = _Numbering()
        lengths = np.fromiter(map(len, lists), dtype=np.int64, count=len(lists))
        ids = np.fromiter(
            (numbers[text] for texts in lists for text in texts), dtype=np.int64, count=int(lengths.sum())
        )
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        return cls(list(numbers), ids, offsets, np.repeat(np.arange(len(lists)), lengths))

    @property
    def lengths(self) -> np.ndarray:
        """[texts] number of items of each text."""
        return np.diff(self.offsets)

    def each(self, function: Callable[[str], int | bool]) -> np.ndarray:
        """[items] `function` of every item, computed once a distinct string."""
        values = np.array([int(function(text)) for text in self.vocabulary], dtype=np.int64)
        return values[self.ids] if len(self.ids) else np.zeros(0, dtype=np.int64)

    def total(self, values: np.ndarray) -> np.ndarray:
        """[texts] sum over each text's items of `values` [items]."""
        return np.bincount(self.owner, weights=values, minlength=len(self.lengths))


@dataclass(frozen=True)
class Sentences:
    """The sentences of a batch, text by text.

    Attributes:
        owner: [sentences] the text that each sentence belongs to.
        characters: [sentences] length.
        tokens: [sentences] number of tokens.
        first, last: the first and the last character of each sentence.
    """

    owner: np.ndarray
    characters: np.ndarray
    tokens: np.ndarray
    first: list[str]
    last: list[str]


@dataclass(frozen=True)
class Units:
    """A batch of normalized texts with its units; see the module docstring.

    Attributes:
        texts: the texts.
        chinese: [texts] whether a CJK character occurs.
        tokens: all tokens of each text.
        words: its lexical words, lower-cased.
        sentences: its sentences.
    """

    texts: Sequence[str]
    chinese: np.ndarray
    tokens: Strings
    words: Strings
    sentences: Sentences

    @property
    def count(self) -> int:
        """Number of texts."""
        return len(self.texts)


SplitText = Callable[[str], tuple[list[str], list[tuple[str, int]]]]
"""Text -> (tokens, [(sentence, its number of tokens), ...])."""


class Splitter(Protocol):
    """The part of a backend that finds units."""

    split_text: SplitText
    split_chinese: SplitText
    chinese_words: Callable[[str, list[str]], list[str]]


def ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """numerator / denominator as floats, 0 where the denominator is 0."""
    result = np.zeros(len(numerator), dtype=np.float64)
    np.divide(numerator, denominator, out=result, where=denominator != 0)
    return result


def build_units(texts: Sequence[str], splitter: Splitter) -> Units:
    """Split normalized texts into their units."""
    token_lists: list[list[str]] = []
    word_lists: list[list[str]] = []
    owners: list[int] = []
    sentences: list[tuple[str, int]] = []
    chinese = np.array([has_cjk(text) for text in texts], dtype=bool)
    for number, text in enumerate(texts):
        tokens, parts = splitter.split_chinese(text) if chinese[number] else splitter.split_text(text)
        words = splitter.chinese_words(text, tokens) if chinese[number] else LEXICAL.findall(text)
        if text and not parts:
            parts = [(text, len(tokens))]
        token_lists.append(tokens)
        word_lists.append([word.lower() for word in words])
        owners += [number] * len(parts)
        sentences += parts
    return Units(
        texts=texts,
        chinese=chinese,
        tokens=Strings.of(token_lists),
        words=Strings.of(word_lists),
        sentences=Sentences(
            owner=np.array(owners, dtype=np.int64),
            characters=np.array([len(sentence) for sentence, _ in sentences], dtype=np.int64),
            tokens=np.array([tokens for _, tokens in sentences], dtype=np.int64),
            first=[sentence[0] for sentence, _ in sentences],
            last=[sentence[-1] for sentence, _ in sentences],
        ),
    )
