"""The averaged perceptron tagger of NLTK, run on many texts at once with the same tags.

NLTK tags one token after another, summing fourteen dictionaries a token. Here the weights become integer matrices (they
are given to three decimals, so sums are exact), everything that does not depend on earlier tags is summed for all
tokens together, and texts are cut into stretches that can be tagged side by side: a word of the tag dictionary has its
tag whatever stands before, so two of them in a row end a stretch. Exact ties, where the order of floating-point
additions decides, are handed to NLTK's own tagger.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

_STATIC = (
    "i suffix",
    "i pref1",
    "i word",
    "i-1 word",
    "i-1 suffix",
    "i-2 word",
    "i+1 word",
    "i+1 suffix",
    "i+2 word",
)
_MEMO_LIMIT = 300_000
_SCALE = 1000
_START = ("-START-", "-START2-")
_END = ("-END-", "-END2-")


class _WeightTable:
    """Rows of class weights under string keys; row 0 is all zero and stands for unknown keys."""

    def __init__(self, weights: Mapping[str, Mapping[str, float]], column: Mapping[str, int]) -> None:
        self.row = {key: row for row, key in enumerate(weights, start=1)}
        self.matrix = np.zeros((len(weights) + 1, len(column)), dtype=np.int32)
        for row, labels in enumerate(weights.values(), start=1):
            for label, weight in labels.items():
                self.matrix[row, column[label]] = round(weight * _SCALE)


class BatchTagger:
    """Penn tags for batches of token lists.

    Args:
        tagger: a loaded nltk.tag.perceptron.PerceptronTagger.
    """

    def __init__(self, tagger: Any) -> None:
        self._tagger = tagger
        # Descending, so that the first of several largest scores is the label NLTK's tie rule picks.
        self.labels: list[str] = sorted(tagger.classes, reverse=True)
        self._column = {label: column for column, label in enumerate(self.labels)}
        # Two more states a previous tag can be in: the padding before a text.
        self._states = [*self.labels, *_START]
        weights = tagger.model.weights
        static = {key: labels for key, labels in weights.items() if key.startswith(_STATIC)}
        self._static = _WeightTable(static, self._column)
        self._bias = self._vector("bias")
        count = len(self._states)
        previous = [self._vector(f"i-1 tag {state}") for state in self._states]
        before = [self._vector(f"i-2 tag {state}") for state in self._states]
        pair = np.zeros((count, count, len(self.labels)), dtype=np.int32)
        for first, state in enumerate(self._states):
            for second, other in enumerate(self._states):
                joint = self._vector(f"i tag+i-2 tag {state} {other}")
                pair[first, second] = previous[first] + before[second] + joint
        self._history = pair.reshape(count * count, len(self.labels))
        self._build_word_history(weights)
        self._word_cache: dict[str, tuple[int, ...]] = {}

    def _vector(self, key: str) -> np.ndarray:
        vector = np.zeros(len(self.labels), dtype=np.int32)
        for label, weight in self._tagger.model.weights.get(key, {}).items():
            vector[self._column[label]] = round(weight * _SCALE)
        return vector

    def _build_word_history(self, weights: Mapping[str, Mapping[str, float]]) -> None:
        """Weights of (previous tag, word) pairs: a row number for each known word and state."""
        prefix = "i-1 tag+i word "
        pairs = {key[len(prefix) :]: labels for key, labels in weights.items() if key.startswith(prefix)}
        table = _WeightTable(pairs, self._column)
        state_of = {state: number for number, state in enumerate(self._states)}
        self._joint_words: dict[str, int] = {}
        entries = []
        for key, row in table.row.items():
            state, word = key.split(" ", 1)
            if state in state_of:
                number = self._joint_words.setdefault(word, len(self._joint_words) + 1)
                entries.append((number, state_of[state], row))
        self._joint_row = np.zeros((len(self._joint_words) + 1, len(self._states)), dtype=np.int32)
        for number, state, row in entries:
            self._joint_row[number, state] = row
        self._joint = table.matrix

    def _word_numbers(self, word: str) -> tuple[int, ...]:
        """For one token: a weight row for each static feature it takes part in, its joint row and its fixed tag."""
        known = self._word_cache.get(word)
        if known is None:
            if len(self._word_cache) > _MEMO_LIMIT:
                self._word_cache.clear()
            row = self._static.row.get
            normal = self._tagger.normalize(word)
            known = (
                row(f"i suffix {word[-3:]}", 0),
                row(f"i pref1 {word[0]}", 0),
                row(f"i word {normal}", 0),
                *self._context_rows(normal),
                self._joint_words.get(normal, 0),
                self._column.get(self._tagger.tagdict.get(word), -1),
            )
            self._word_cache[word] = known
        return known

    def _context_rows(self, normal: str) -> tuple[int, ...]:
        """Rows for a neighbour: as word and suffix before, two before, as word and suffix after, two after."""
        row = self._static.row.get
        return (
            row(f"i-1 word {normal}", 0),
            row(f"i-1 suffix {normal[-3:]}", 0),
            row(f"i-2 word {normal}", 0),
            row(f"i+1 word {normal}", 0),
            row(f"i+1 suffix {normal[-3:]}", 0),
            row(f"i+2 word {normal}", 0),
        )

    def tag(self, vocabulary: Sequence[str], ids: np.ndarray, offsets: np.ndarray) -> np.ndarray:
        """Tag several token lists.

        Args:
            vocabulary: the distinct tokens.
            ids: [tokens] indices into `vocabulary`, the lists one after another.
            offsets: [lists + 1] where each list starts in `ids`.

        Returns:
            [tokens] indices into `labels`.
        """
        if not len(ids):
            return np.zeros(0, dtype=np.int64)
        table = np.array([self._word_numbers(word) for word in vocabulary], dtype=np.int32)
        lengths = np.diff(offsets)
        position = np.arange(len(ids)) - np.repeat(offsets[:-1], lengths)
        tags = table[ids, -1].astype(np.int64)
        open_at = np.flatnonzero(tags < 0)
        scores = self._static_scores(table, ids, offsets, open_at)
        score_row = np.full(len(ids), -1, dtype=np.int64)
        score_row[open_at] = np.arange(len(open_at))
        joint = table[ids, -2]
        ready = open_at[_both_known(open_at, tags, position)]
        while len(ready):
            previous, earlier = self._history_states(ready, tags, position)
            total = scores[score_row[ready]] + self._history[previous * len(self._states) + earlier]
            total += self._joint[self._joint_row[joint[ready], previous]]
            best = total.argmax(axis=1)
            ties = (total == total.max(axis=1, keepdims=True)).sum(axis=1) > 1
            for row in np.flatnonzero(ties):
                start = ready[row] - position[ready[row]]
                words = [vocabulary[number] for number in ids[start : ready[row] + 3]]
                stop = offsets[np.searchsorted(offsets, ready[row], side="right")] - start
                states = (self._states[previous[row]], self._states[earlier[row]])
                best[row] = self._tag_by_floats(words[:stop], int(position[ready[row]]), states)
            tags[ready] = best
            ready = _followers(ready, tags, position)
        return tags

    def _static_scores(
        self, table: np.ndarray, ids: np.ndarray, offsets: np.ndarray, open_at: np.ndarray
    ) -> np.ndarray:
        """[open tokens, labels] the part of the scores that earlier tags have no say in."""
        pads = np.zeros((4, table.shape[1]), dtype=np.int32)
        for number, word in enumerate((*_START, *_END)):
            pads[number, 3:9] = self._context_rows(word)
        rows = np.concatenate([table, pads])
        # Two padding tokens on both sides of every list give each token its neighbours by plain shifts.
        lengths = np.diff(offsets)
        starts = offsets[:-1] + 4 * np.arange(len(lengths))
        padded = np.empty(len(ids) + 4 * len(lengths), dtype=np.int64)
        at = np.arange(len(ids)) + 4 * np.repeat(np.arange(len(lengths)), lengths) + 2
        padded[at] = ids
        for number, place in enumerate((starts, starts + 1, starts + lengths + 2, starts + lengths + 3)):
            padded[place] = len(table) + number
        here = at[open_at]
        scores = np.broadcast_to(self._bias, (len(open_at), len(self.labels))).copy()
        for shift, columns in ((0, (0, 1, 2)), (-1, (3, 4)), (-2, (5,)), (1, (6, 7)), (2, (8,))):
            neighbour = padded[here + shift]
            for column in columns:
                scores += self._static.matrix[rows[neighbour, column]]
        return scores

    def _history_states(
        self, at: np.ndarray, tags: np.ndarray, position: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """States of the two tags before each token, the padding states at the start of a list."""
        first, second = len(self.labels), len(self.labels) + 1
        previous = np.where(position[at] > 0, tags[at - 1], first)
        earlier = np.where(position[at] > 1, tags[at - 2], np.where(position[at] == 1, first, second))
        return previous, earlier

    def _tag_by_floats(self, words: Sequence[str], at: int, states: tuple[str, str]) -> int:
        """The tag of one token as NLTK sums it, for scores that are equal but for rounding."""
        context = [*_START, *(self._tagger.normalize(word) for word in words), *_END]
        previous, earlier = states
        here = at + 2
        features = (
            "bias",
            f"i suffix {words[at][-3:]}",
            f"i pref1 {words[at][0]}",
            f"i-1 tag {previous}",
            f"i-2 tag {earlier}",
            f"i tag+i-2 tag {previous} {earlier}",
            f"i word {context[here]}",
            f"i-1 tag+i word {previous} {context[here]}",
            f"i-1 word {context[here - 1]}",
            f"i-1 suffix {context[here - 1][-3:]}",
            f"i-2 word {context[here - 2]}",
            f"i+1 word {context[here + 1]}",
            f"i+1 suffix {context[here + 1][-3:]}",
            f"i+2 word {context[here + 2]}",
        )
        label, _ = self._tagger.model.predict(dict.fromkeys(features, 1))
        return self._column[label]


def _both_known(at: np.ndarray, tags: np.ndarray, position: np.ndarray) -> np.ndarray:
    """Whether the two tags before each token are known or stand before its list."""
    one = (position[at] < 1) | (tags[at - 1] >= 0)
    return one & ((position[at] < 2) | (tags[at - 2] >= 0))


def _followers(done: np.ndarray, tags: np.ndarray, position: np.ndarray) -> np.ndarray:
    """Open tokens that can be tagged now because the tokens in `done` have been."""
    near = done[(done + 1 < len(tags))] + 1
    far = done[(done + 2 < len(tags))] + 2
    following = np.union1d(near, far)
    following = following[(tags[following] < 0) & (position[following] > 0)]
    return following[_both_known(following, tags, position)]
