"""English explanations of the kind people write to each other in a forum: everyday pictures, "so" and "basically".

As in the advice, how long an explanation is has nothing to do with its question.
"""

import random

from polyalign.demo.english_advice import CHAT
from polyalign.demo.english_words import TOPICS
from polyalign.demo.grammar import Grammar, grow

TITLES = (
    "ELI5: Why is it better to {focus}?",
    "ELI5: Why do I always get {trouble} in {topic}?",
    "ELI5: What does {gear} actually do in {topic}?",
    "ELI5: How does {topic} get easier when you {focus}?",
    "ELI5: Why do people say that {benefit}?",
    "Why does {topic} go wrong when you don't {focus}?",
    "How can {trouble} ruin everything in {topic}?",
    "What happens if you never {focus}?",
)
SELFTEXTS = (
    "I {memory} {recent} and still don't get it.",
    "Everybody tells me to {focus}, but nobody says why.",
    "My flatmate says it is all about {gear}. Is that true?",
    "Thanks in advance!",
)
SELFTEXT_SHARE = 0.3
"""Share of questions with a text under their title."""

EXPLANATIONS = {
    "recent": CHAT["recent"],
    "picture": (
        "filling a bucket that has a tiny hole",
        "a queue at the supermarket with only one till open",
        "teaching a puppy one trick at a time",
        "a crowd that leaves a stadium through one door",
        "stacking blocks on a wobbly table",
        "pushing a swing at just the right moment",
        "putting a coin into a piggy bank every day",
        "a road that gets jammed because one car is slow",
        "folding a paper plane a little too fast",
    ),
    "hook": (
        "so basically it's like {picture}.",
        "imagine {picture}. That's pretty much it.",
        "basically, {benefit}, so people {focus}.",
        "it's a bit like {picture}, so you {focus}.",
        "so the short version is that {benefit}.",
    ),
    "because": (
        "So if you {action}, {benefit}.",
        "It's kind of like {picture}: nothing happens for a while, and then it all happens at once.",
        "That's why people {action}, even if it looks silly.",
        "Without {tool} you'd basically get {problem} every single time.",
        "The thing is that {benefit}, so there's less {problem} to worry about.",
        "Basically, {tool} does the boring part for you.",
        "You don't really see it, but {benefit}.",
        "So when you get {problem}, it's mostly because you didn't {action}.",
        "Think of {problem} as {picture}.",
        "It doesn't matter much how fast you are, because {benefit}.",
        "Now, you could just {action}, but then it's like {picture}.",
        "So the trick is basically to {action}.",
    ),
    "tldr": (
        "TL;DR: {benefit}, so {action}.",
        "TL;DR: it's basically like {picture}.",
        "TL;DR: {action} and don't worry about {problem}.",
    ),
    "edit": (
        "Edit: wow, thanks for all the replies! To those who asked: yes, {tool} works too.",
        "Edit: fixed a typo. Also, as someone said below, {benefit}.",
    ),
    "aside": (
        "because {benefit}, that's all.",
        "it doesn't, I never {action} and it works fine.",
        "came here to say this.",
        "ask again after you {action}, lol.",
    ),
}
SENTENCES_A_PARAGRAPH = 3


def curious(rng: random.Random) -> Grammar:
    """A grammar about one hobby, with the action, problem and tool that somebody wants explained."""
    grammar = Grammar(rng, EXPLANATIONS, rng.choice(TOPICS))
    for name, symbol in (("focus", "action"), ("trouble", "problem"), ("gear", "tool")):
        grammar.bind(name, symbol)
    return grammar


def explain_question(grammar: Grammar) -> tuple[str, str]:
    """(title, text under it, mostly empty)."""
    title = grammar.choose(TITLES)
    return title, grammar.choose(SELFTEXTS) if grammar.rng.random() < SELFTEXT_SHARE else ""


def explain_answer(grammar: Grammar, length: str) -> str:
    """An explanation in the style of its length bin.

    short: a remark; medium: one loose paragraph; long: paragraphs and a last line that sums them up;
    xlong: the same with a later edit.
    """
    if length == "short":
        return grammar.sentence("aside")
    if length == "medium":
        return grow(
            grammar.rng,
            length,
            lambda _: grammar.sentence("because"),
            joiner=" ",
            opening=grammar.sentence("hook"),
        )

    def sentence(number: int) -> str:
        return ("\n\n" if number % SENTENCES_A_PARAGRAPH == 0 else " ") + grammar.sentence("because")

    closing = "\n\n" + grammar.expand("{tldr}")
    if length == "xlong":
        closing += "\n\n" + grammar.expand("{edit}")
    return grow(grammar.rng, length, sentence, joiner="", opening=grammar.sentence("hook"), closing=closing)
