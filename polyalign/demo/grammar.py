"""Seeded phrase grammars: the machinery under the demo corpora.

A grammar maps a symbol to its alternatives; an alternative may name other symbols in braces, and `{^symbol}`
capitalises what the symbol expands to. Alternatives are drawn without replacement until all were used, so that
one answer does not say the same thing twice. Everything is a function of (seed, corpus, item index): items can be
made in any order.
"""

import random
import re
from collections.abc import Callable, Mapping, Sequence

from polyalign.records import count_tokens

Rules = Mapping[str, Sequence[str]]

_SYMBOL = re.compile(r"\{(\^?)(\w+)\}")

# Token counts the generated answers aim at; each range lies inside its length bin with a margin.
LENGTH_TARGETS = {"short": (6, 34), "medium": (46, 80), "long": (122, 140), "xlong": (244, 262)}
LENGTH_LIMITS = {"short": 40, "medium": 120, "long": 240, "xlong": 320}


def item_rng(seed: int, corpus: str, *key: object) -> random.Random:
    """The random stream of one item of one corpus, independent of every other item's."""
    return random.Random(f"{seed}/{corpus}/{'/'.join(map(str, key))}")


class Grammar:
    """Expands symbols of a rule set with one random stream, without repeating itself needlessly."""

    def __init__(self, rng: random.Random, *rule_sets: Rules):
        self.rng = rng
        self.rules: dict[str, Sequence[str]] = {}
        for rules in rule_sets:
            self.rules.update(rules)
        self._decks: dict[str, list[str]] = {}

    def draw(self, symbol: str) -> str:
        """One unexpanded alternative of `symbol`."""
        deck = self._decks.get(symbol)
        if not deck:
            deck = list(self.rules[symbol])
            self.rng.shuffle(deck)
            self._decks[symbol] = deck
        return deck.pop()

    def bind(self, name: str, symbol: str) -> str:
        """Fix `name` to one expansion of `symbol`, so that question and answer speak of the same thing."""
        value = self.expand("{" + symbol + "}")
        self.rules[name] = (value,)
        self._decks.pop(name, None)
        return value

    def expand(self, text: str) -> str:
        """`text` with every `{symbol}` replaced by an expansion of it."""

        def replace(match: re.Match) -> str:
            value = self.expand(self.draw(match[2]))
            return value[:1].upper() + value[1:] if match[1] else value

        return _SYMBOL.sub(replace, text)

    def sentence(self, symbol: str) -> str:
        """An expansion of `symbol` that begins with a capital letter."""
        return self.expand("{^" + symbol + "}")

    def choose(self, alternatives: Sequence[str]) -> str:
        """An expansion of one of `alternatives`, beginning with a capital letter."""
        text = self.expand(self.rng.choice(alternatives))
        return text[:1].upper() + text[1:]


def draw_length(rng: random.Random, shares: Mapping[str, float]) -> str:
    """A length bin drawn by its share; the shares need not sum to one."""
    return rng.choices(list(shares), weights=list(shares.values()))[0]


def grow(
    rng: random.Random,
    length: str,
    parts: Callable[[int], str],
    *,
    joiner: str,
    opening: str = "",
    closing: str = "",
) -> str:
    """Add parts(0), parts(1), ... between an opening and a closing until the bin's drawn target is met.

    Parts that would overstep the bin's upper limit are not added. Lengths are language-neutral token counts.
    """
    low, high = LENGTH_TARGETS[length]
    target, limit = rng.randint(low, high), LENGTH_LIMITS[length]
    pieces = [opening] if opening else []
    spent = count_tokens(opening) + count_tokens(closing)
    number = 0
    while spent < target:
        part = parts(number)
        cost = count_tokens(part)
        if spent + cost > limit:
            break
        pieces.append(part)
        spent += cost
        number += 1
    if closing:
        pieces.append(closing)
    return joiner.join(pieces)
