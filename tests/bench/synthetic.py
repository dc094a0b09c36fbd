"""Synthetic corpora of any size: the official raw layouts, lengths and repetitions of the real ones.

Lengths follow the real corpora (median and mean characters of questions, contexts and answers), so that rows cost what
real rows cost. One item in `COPY_EVERY` repeats an earlier one exactly, one in `NEAR_EVERY` with a few words changed;
both may lie in another split. Everything is streamed: a million records take as little memory as a thousand.
"""

import math
import random
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

from polyalign.demo import chinese_advice, chinese_facts, english_advice, english_explanations, english_facts
from polyalign.demo.grammar import item_rng
from polyalign.files import atomic_directory

COPY_EVERY = 100
NEAR_EVERY = 100
POOL = 4000
"""Sentences of a language that texts are put together from."""
REMEMBERED = 2000
"""Earlier items that a repetition is drawn from."""

PUBLISHED_SHARES = {
    "dolly": 14_995,
    "ms_marco": 99_296,
    "coqa": 116_618,
    "eli5_category": 105_004,
    "squad_v2": 142_146,
    "natural_questions": 100_231,
    "dailydialog": 44_832,
    "multiwoz": 70_730,
    "coig_cqia": 10_624,
    "hc3_chinese": 22_200,
    "oasst2_zh": 4_561,
    "cmrc2018": 14_363,
    "drcd": 33_953,
    "dureader": 17_879,
}
"""Records of each corpus in the published inventory: how a synthetic mixture is divided."""
CHINESE = frozenset({"coig_cqia", "hc3_chinese", "oasst2_zh", "cmrc2018", "drcd", "dureader"})

Length = tuple[int, int]
"""(median, mean) characters; lengths are log-normal."""


@dataclass(frozen=True)
class Lengths:
    """Texts of one corpus, as measured on real rows; a context of length zero is none."""

    question: Length
    answer: Length
    context: Length = (0, 0)


LENGTHS = {
    "dolly": Lengths((50, 67), (256, 428), (900, 1300)),
    "ms_marco": Lengths((31, 33), (42, 79), (400, 430)),
    "coqa": Lengths((25, 28), (10, 15), (1539, 1579)),
    "eli5_category": Lengths((103, 160), (440, 683)),
    "squad_v2": Lengths((55, 58), (14, 20), (698, 777)),
    "natural_questions": Lengths((45, 47), (600, 700)),
    "dailydialog": Lengths((44, 56), (46, 59)),
    "multiwoz": Lengths((64, 68), (82, 86)),
    "coig_cqia": Lengths((24, 57), (180, 370), (300, 500)),
    "hc3_chinese": Lengths((10, 14), (110, 180)),
    "oasst2_zh": Lengths((17, 37), (129, 308)),
    "cmrc2018": Lengths((15, 16), (9, 16), (484, 522)),
    "drcd": Lengths((22, 24), (4, 6), (459, 497)),
    "dureader": Lengths((9, 10), (6, 20), (187, 257)),
}


@dataclass(frozen=True)
class Item:
    """One unit of a raw file: texts asked about, and the (question, answer) pairs or turns about it."""

    context: str
    pairs: tuple[tuple[str, str], ...]
    number: int


@cache
def _sentences(chinese: bool) -> tuple[str, ...]:
    """The pool of sentences, from the grammars of the demo."""
    pool: dict[str, None] = {}
    index = 0
    while len(pool) < POOL:
        rng = item_rng(7, "pool", chinese, index)
        index += 1
        if chinese:
            texts = [
                chinese_facts.passage(chinese_facts.place(rng), 5)[0],
                chinese_advice.chat_answer(chinese_advice.hobby(rng), "medium"),
            ]
            pool.update(dict.fromkeys(part + "。" for text in texts for part in text.split("。") if part))
        else:
            texts = [
                english_facts.passage(english_facts.place(rng), 5)[0],
                english_advice.chat_answer(english_advice.hobby(rng), "medium"),
                english_explanations.explain_answer(english_explanations.curious(rng), "medium"),
            ]
            pool.update(dict.fromkeys(part.strip(".") + "." for text in texts for part in text.split(". ")))
    return tuple(pool)


@dataclass
class Writer:
    """Draws items of one corpus, one after another, repetitions included."""

    dataset: str
    seed: int
    rng: random.Random = field(init=False)
    _recent: deque[Item] = field(init=False)
    _count: int = 0

    def __post_init__(self) -> None:
        self.rng = random.Random(f"{self.seed}/{self.dataset}")
        self._recent = deque(maxlen=REMEMBERED)
        self.lengths = LENGTHS[self.dataset]
        self.chinese = self.dataset in CHINESE
        self.pool = _sentences(self.chinese)
        self.mean = sum(map(len, self.pool)) / len(self.pool)

    def text(self, length: Length) -> str:
        """A text of log-normal length, made of whole sentences but for its last."""
        median, mean = length
        wanted = int(self.rng.lognormvariate(math.log(median), math.sqrt(2 * math.log(mean / median)))) + 1
        drawn = self.rng.choices(self.pool, k=int(wanted / self.mean) + 2)
        return ("" if self.chinese else " ").join(drawn)[:wanted].rstrip()

    def question(self) -> str:
        """A question that is like no other."""
        mark = f"{self.rng.getrandbits(40):x}"
        text = self.text(self.lengths.question)
        return f"{text}{mark}？" if self.chinese else f"{text} {mark}?"

    def items(self, count: int, pairs: Callable[[], int]) -> Iterator[Item]:
        """`count` items of `pairs()` questions and answers each."""
        for _ in range(count):
            draw = self.rng.random()
            if self._recent and draw < 1 / COPY_EVERY:
                item = self.rng.choice(self._recent)
            elif self._recent and draw < 1 / COPY_EVERY + 1 / NEAR_EVERY:
                item = self._altered(self.rng.choice(self._recent))
            else:
                context = self.text(self.lengths.context) if self.lengths.context[0] else ""
                both = tuple((self.question(), self.text(self.lengths.answer)) for _ in range(pairs()))
                item = Item(context, both, 0)
                self._recent.append(item)
            self._count += 1
            yield replace(item, number=self._count)

    def _altered(self, item: Item) -> Item:
        """The item with one word of its longest text changed."""
        pairs = list(item.pairs)
        longest = max(range(len(pairs)), key=lambda place: len(pairs[place][1]))
        question, answer = pairs[longest]
        middle = len(answer) // 2
        pairs[longest] = (question, answer[:middle] + ("又" if self.chinese else "again") + answer[middle:])
        return replace(item, pairs=tuple(pairs))


def records_by_corpus(records: int) -> dict[str, int]:
    """How a mixture of `records` is divided over the corpora."""
    whole = sum(PUBLISHED_SHARES.values())
    return {name: max(40, round(records * share / whole)) for name, share in PUBLISHED_SHARES.items()}


def make_corpus(dataset: str, folder: Path, records: int, seed: int = 7) -> Path:
    """Raw files of one corpus with about `records` usable records below `folder`, made once.

    Returns:
        The corpus' folder.
    """
    from tests.bench.layouts import LAYOUTS

    target = folder / dataset
    if not target.is_dir():
        with atomic_directory(target) as temporary:
            LAYOUTS[dataset](Writer(dataset, seed), Path(temporary), records)
    return target


def make_mixture(folder: Path, records: int) -> dict[str, Path]:
    """Raw files of all corpora, `records` together; {dataset: folder}."""
    return {name: make_corpus(name, folder, count) for name, count in records_by_corpus(records).items()}
