"""Sequences to score, cut to length and put together so that little is computed twice or for nothing.

Equal sequences are scored once. Sequences that begin alike, such as the turns of one dialogue or the questions about
one passage, have their common beginning run through the model once. The others are batched by length.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from polyalign.features.frozen_decoder import rounded_up
from polyalign.features.scorer import Scorer
from polyalign.records import normalize_text

LEAST_SHARED = 64
"""Common tokens from which running a beginning apart saves time."""
_NEAR = 0.9
"""Groups go through the model together when their common beginnings differ in length by at most a tenth."""


@dataclass(frozen=True)
class ScoredText:
    """One sequence to score: `prefix` (start token included) and the answer that follows it.

    Attributes:
        row: row of the result.
        kind: `unconditional` or `conditional`.
        prefix: token ids before the answer.
        answer: token ids of the answer.
        prefix_dropped, answer_dropped: tokens left out to fit the maximum length.
        started: whether `prefix` begins with a start token.
    """

    row: int
    kind: str
    prefix: list[int]
    answer: list[int]
    prefix_dropped: int
    answer_dropped: int
    started: bool

    @property
    def length(self) -> int:
        """Number of tokens."""
        return len(self.prefix) + len(self.answer)

    @property
    def tokens(self) -> list[int]:
        """All token ids."""
        return self.prefix + self.answer


@dataclass(frozen=True)
class Batch:
    """Sequences that go through the model together.

    Attributes:
        texts: the sequences, those whose answer starts first ahead, so that attention can leave the others out.
        shared: tokens at the beginning of each that are run apart; 0 for none.
        group: the beginning that each sequence has, as an index into `beginnings`.
        beginnings: distinct beginnings of `shared` tokens.
    """

    texts: list[ScoredText]
    shared: int
    group: tuple[int, ...]
    beginnings: tuple[tuple[int, ...], ...]


def _fit(scorer: Scorer, row: int, kind: str, prefix: list[int], answer: list[int]) -> ScoredText:
    """Drop tokens until start, prefix and answer fit the maximum length."""
    start = [] if scorer.start_id is None else [scorer.start_id]
    excess = max(0, len(start) + len(prefix) + len(answer) - scorer.max_length)
    prefix_dropped = min(excess, len(prefix))
    answer_dropped = excess - prefix_dropped
    if answer_dropped:
        answer = answer[answer_dropped:] if scorer.truncation == "published" else answer[:-answer_dropped]
    return ScoredText(
        row, kind, start + prefix[prefix_dropped:], answer, prefix_dropped, answer_dropped, bool(start)
    )


def make_sequences(
    scorer: Scorer, first_row: int, prefixes: Sequence[str], answers: Sequence[str]
) -> Iterator[ScoredText]:
    """Both sequences of each row, the first of which is `first_row`; texts are tokenized once each."""
    prefixes = [normalize_text(prefix) for prefix in prefixes]
    texts = list(dict.fromkeys([*prefixes, *answers]))
    tokenized = scorer.tokenizer(
        texts, add_special_tokens=False, return_attention_mask=False, return_token_type_ids=False
    )
    ids = dict(zip(texts, tokenized["input_ids"], strict=True))
    for row, (prefix, answer) in enumerate(zip(prefixes, answers, strict=True), start=first_row):
        yield _fit(scorer, row, "unconditional", [], ids[answer])
        yield _fit(scorer, row, "conditional", ids[prefix], ids[answer])


def distinct(texts: Sequence[ScoredText]) -> dict[tuple[int, tuple[int, ...]], list[ScoredText]]:
    """Sequences that score alike, by length of the prefix and tokens; the first of each stands for the others."""
    groups: dict[tuple[int, tuple[int, ...]], list[ScoredText]] = {}
    for text in texts:
        groups.setdefault((len(text.prefix), tuple(text.tokens)), []).append(text)
    return groups


def _common(one: Sequence[int], other: Sequence[int], most: int) -> int:
    """Number of tokens that two sequences begin with alike, at most `most`."""
    if one[:most] == other[:most]:
        return most
    low, high = 0, most
    while high - low > 1:
        middle = (low + high) // 2
        if one[:middle] == other[:middle]:
            low = middle
        else:
            high = middle
    return low


def _shared_groups(texts: Sequence[ScoredText]) -> Iterator[tuple[int, list[ScoredText]]]:
    """(tokens in common, sequences) of neighbours in the order of their tokens, chosen to save the most.

    The last token of a prefix is never shared: its state predicts the answer's first token.
    """
    group: list[ScoredText] = []
    shared = 0
    for text in sorted(texts, key=lambda one: one.tokens):
        most = max(0, len(text.prefix) - 1)
        if group:
            both = _common(group[0].tokens, text.tokens, min(shared, most))
            if both >= LEAST_SHARED and both * len(group) > shared * (len(group) - 1):
                group.append(text)
                shared = both
                continue
            yield shared, group
        group, shared = [text], most
    if group:
        yield shared, group


def _by_length(texts: Sequence[ScoredText], batch_tokens: int) -> Iterator[Batch]:
    """Batches of similar length, the longest first, within `batch_tokens` tokens, padding included."""
    batch: list[ScoredText] = []
    for text in sorted(texts, key=lambda one: one.length, reverse=True):
        if batch and (len(batch) + 1) * rounded_up(batch[0].length) > batch_tokens:
            yield _joined([(0, batch)])
            batch = []
        batch.append(text)
    if batch:
        yield _joined([(0, batch)])


def _shared_batches(groups: list[tuple[int, list[ScoredText]]], batch_tokens: int) -> Iterator[Batch]:
    """Batches of groups whose common beginnings are about as long; beginnings are cut to the shortest of a batch."""
    waiting: list[tuple[int, list[ScoredText]]] = []
    longest = 0
    for shared, group in sorted(groups, key=lambda one: one[0], reverse=True):
        longest_here = max(text.length for text in group)
        members = sum(len(one) for _, one in waiting) + len(group)
        full = members * rounded_up(max(longest, longest_here)) > batch_tokens
        if waiting and (full or shared < _NEAR * waiting[0][0]):
            yield _joined(waiting)
            waiting, longest = [], 0
        waiting.append((shared, group))
        longest = max(longest, longest_here)
    if waiting:
        yield _joined(waiting)


def _joined(groups: list[tuple[int, list[ScoredText]]]) -> Batch:
    shared = min(length for length, _ in groups)
    members = [(text, number) for number, (_, group) in enumerate(groups) for text in group]
    members.sort(key=lambda member: len(member[0].prefix))
    return Batch(
        texts=[text for text, _ in members],
        shared=shared,
        group=tuple(number for _, number in members),
        beginnings=tuple(tuple(group[0].tokens[:shared]) for _, group in groups),
    )


def _parts(group: list[ScoredText], batch_tokens: int) -> Iterator[list[ScoredText]]:
    """A group in parts that fit a batch."""
    size = max(2, batch_tokens // rounded_up(max(text.length for text in group)))
    yield from (group[start : start + size] for start in range(0, len(group), size))


def make_batches(texts: Sequence[ScoredText], batch_tokens: int) -> list[Batch]:
    """Batches of distinct sequences, those that take longest first.

    Args:
        batch_tokens: tokens of a batch, padding and common beginnings of every sequence included.
    """
    alone: list[ScoredText] = []
    groups: list[tuple[int, list[ScoredText]]] = []
    for shared, group in _shared_groups(texts):
        for part in _parts(group, batch_tokens):
            if len(part) > 1:
                groups.append((shared, part))
            else:
                alone += part
    return [*_by_length(alone, batch_tokens), *_shared_batches(groups, batch_tokens)]
