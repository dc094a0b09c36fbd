"""Answers in the style of their length, the same in every language.

A grammar has the words; `joiner` is what the language has between sentences: a space, or nothing.
"""

import random

from polyalign.demo.grammar import Grammar, Rules, grow

# Steps in the first of the two lists of a very long answer.
SECTION_STEPS = 7


def about_a_hobby(rng: random.Random, *rule_sets: Rules) -> Grammar:
    """A grammar with the action, problem and tool that the conversation turns on."""
    grammar = Grammar(rng, *rule_sets)
    for name, symbol in (("focus", "action"), ("trouble", "problem"), ("gear", "tool")):
        grammar.bind(name, symbol)
    return grammar


def listed_advice(grammar: Grammar, length: str, lead: str, joiner: str) -> str:
    """A heading, the lead, a numbered or bulleted list and a note; `xlong` has two lists."""
    bulleted = grammar.rng.random() < 0.4

    def step(number: int) -> str:
        if length == "xlong" and number == SECTION_STEPS:
            return "\n" + grammar.sentence("second_heading")
        if number > SECTION_STEPS:
            number -= SECTION_STEPS + 1
        return ("- " if bulleted else f"{number + 1}. ") + grammar.sentence("step")

    opening = f"{grammar.sentence('heading')}\n{lead}{joiner}{grammar.sentence('announce')}"
    return grow(grammar.rng, length, step, joiner="\n", opening=opening, closing=grammar.sentence("note"))


def chat_answer(grammar: Grammar, length: str, joiner: str) -> str:
    """A friend's reply: a quick exclamation, casual chatter, or a whole story with quotes and dots."""
    if length == "short":
        return grammar.sentence("quick")
    kind, closing = ("chatter", "") if length == "medium" else ("story", "story_end")
    return grow(
        grammar.rng,
        length,
        lambda _: grammar.sentence(kind),
        joiner=joiner,
        opening=grammar.sentence(f"{kind}_start"),
        closing=grammar.sentence(closing) if closing else "",
    )


def passage_answer(grammar: Grammar, length: str, joiner: str, opening: str) -> str:
    """The assistant's summary of a passage: one sentence, a paragraph, or `opening` and a list of entries."""
    if length == "short":
        return grammar.sentence("gist")
    if length == "medium":
        gist = grammar.sentence("gist")
        return grow(grammar.rng, length, lambda _: grammar.sentence("told"), joiner=joiner, opening=gist)
    return grow(
        grammar.rng,
        length,
        lambda _: "- " + grammar.sentence("entry"),
        joiner="\n",
        opening=grammar.expand(opening),
    )
