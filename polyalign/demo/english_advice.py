"""English advice (assistant) and small talk (open chat): the same questions, answered at several lengths.

How long an answer is, and the style that goes with its length, is drawn independently of the question: only who
is told the target profile can know it.
"""

import random

from polyalign.demo import styles
from polyalign.demo.english_words import TOPICS
from polyalign.demo.grammar import Grammar, grow
from polyalign.demo.styles import about_a_hobby, listed_advice

# kind of question -> (questions, first sentences of an answer)
KINDS = {
    "start": (
        (
            "How do I get started with {topic}?",
            "What should I know about {topic} as a beginner?",
            "Can you give me some advice about {topic}?",
            "Is {topic} hard to learn? My first plan is to {focus}.",
            "I just bought {gear}. What is the next step in {topic}?",
        ),
        (
            "the simplest start is to {focus}.",
            "you only need {gear} and a little patience.",
            "begin small and {focus}.",
            "a beginner should {focus} and keep {gear} at hand.",
        ),
    ),
    "why": (
        (
            "Why do so many people enjoy {topic}?",
            "What makes {topic} so popular?",
            "Explain why it helps to {focus}.",
            "Why should I {focus}?",
            "Is it true that {benefit}?",
        ),
        (
            "most people like it because {benefit}.",
            "it helps because {benefit}.",
            "people enjoy it since {benefit}.",
            "the main reason to {focus} is that {benefit}.",
        ),
    ),
    "trouble": (
        (
            "How can I deal with {trouble}?",
            "I have trouble with {trouble}. What can I do?",
            "What is a good remedy for {trouble}?",
            "Does it help against {trouble} to {focus}?",
        ),
        (
            "the best answer to {trouble} is to {focus}.",
            "you can avoid {trouble} if you {focus}.",
            "against {trouble} it helps to {focus}.",
            "use {gear} and {focus}, then {trouble} will not bother you.",
        ),
    ),
    "way": (
        (
            "What is the best way to {focus}?",
            "When should I {focus}?",
            "Is it difficult to {focus}?",
            "Do I need {gear} to {focus}?",
        ),
        (
            "it is easiest to {focus} {moment}.",
            "you can {focus} with {gear} {moment}.",
            "try to {focus} {moment}.",
            "you should {focus} for about {minutes} minutes.",
        ),
    ),
    "ideas": (
        (
            "Suggest a few ideas for {topic} at the weekend.",
            "Give me some tips for better {topic}.",
            "What can a family do together in {topic}?",
            "Tell me something useful about {topic}.",
        ),
        (
            "you could {focus} {moment}.",
            "a good idea is to {focus} with {gear}.",
            "simply {focus} and enjoy the day.",
            "one useful tip is to {focus} {moment}.",
        ),
    ),
}

ADVICE = {
    "minutes": ("5", "10", "15", "20", "25", "30", "40", "45"),
    "weeks": ("2", "3", "4", "5", "6"),
    "moment": (
        "in the morning",
        "after work",
        "on a calm day",
        "at the weekend",
        "once a week",
        "before lunch",
    ),
    "plain_end": ("It takes {minutes} minutes.", "Nothing else is needed.", "Keep it simple."),
    "connected": (
        "First of all, you should {action}, because {benefit}.",
        "After that, it is wise to {action} {moment}.",
        "However, be careful with {problem}, which can spoil the fun.",
        "In addition, {tool} is useful when you want to {action}.",
        "For example, many people {action} {moment}.",
        "As a result, {benefit}, and {benefit}.",
        "Beginners often forget to {action}, although it only takes {minutes} minutes.",
        "On the other hand, there is no need to hurry.",
        "Moreover, {benefit} if you {action}.",
        "In the end, patience matters more than {tool}.",
    ),
    "view": (
        "in general,",
        "as far as I know,",
        "that depends, but usually",
        "there are several answers. For most people,",
    ),
    "heading": (
        "## A short plan for {topic}",
        "## {^topic} step by step",
        "## Notes on {topic}",
        "## {^topic}: what works",
    ),
    "announce": (
        "Here are the steps:",
        "The plan has these parts:",
        "Please follow this list:",
        "The key points are:",
    ),
    "step": (
        "{^action} ({minutes} minutes).",
        "{^tool}: keep it ready to {action}.",
        "{^problem}: {action} to prevent this.",
        "{^action}; this way {benefit}.",
        "{^moment}: {action}.",
        "{^action}, then {action}.",
    ),
    "note": (
        "Note: repeat the list for {weeks} weeks.",
        "Total time: about {minutes} minutes a day.",
        "Tip: write the date next to each step.",
        "Summary: {benefit}.",
    ),
    "second_heading": ("## Common problems", "## Equipment", "## After {weeks} weeks"),
}

CHAT = {
    "recent": ("yesterday", "last weekend", "on Sunday", "this morning", "last night", "two days ago"),
    "wow": ("Wow!", "Oh really?", "Haha!", "No way!", "Oh nice!", "Hey, great!", "Ah, well."),
    "feeling": (
        "so much fun",
        "a bit crazy",
        "really lovely",
        "pretty tiring",
        "just perfect",
        "kind of funny",
    ),
    "buddy": ("my sister", "my flatmate", "my dad", "an old friend", "our neighbour", "my cousin"),
    "opener": (
        "Hi! I {memory} {recent}. How about you?",
        "Hey, did you hear? I {memory} {recent}!",
        "Do you like {topic}?",
        "Have you ever tried {topic}?",
        "What did you do {recent}?",
        "I am so tired of {problem}!",
        "Guess what, {buddy} {memory} {recent}.",
        "You look happy today! What happened {recent}?",
        "Shall we {action} together?",
    ),
    "follow": (
        "That sounds {feeling}! And then?",
        "Really? I never {memory}.",
        "Would you do it again?",
        "Who went with you?",
        "I would love to {action} too!",
        "But what about {problem}?",
        "Haha, tell me more!",
    ),
    "quick": (
        "{wow} I {memory} {recent}!",
        "{wow} That is {feeling}!",
        "Not much, I just {memory}.",
        "Sure, let's {action}!",
        "I guess so. It was {feeling}.",
        "{wow} {^buddy} {memory} too!",
        "Yeah, but I hate {problem}!",
        "Maybe {moment}, okay?",
        "Me too!",
    ),
    "chatter_start": (
        "Well, where do I start?",
        "Hmm, let me think.",
        "You know what?",
        "To be honest with you:",
    ),
    "chatter": (
        "I {memory} {recent}, and it was {feeling}!",
        "You know, {benefit}!",
        "Next time we should {action}, okay?",
        "And {buddy} {memory}, haha!",
        "Just watch out for {problem}!",
        "I guess I love {topic} now.",
        "Do you want to come along {moment}?",
        "I even took {tool} with me!",
        "Well, it was {feeling}, really.",
        "Anyway, how have you been?",
    ),
    "story_start": (
        "Oh, let me tell you the whole story...",
        "You won't believe this... so listen!",
        "Well, it is a long story...",
        "Okay, sit down, this is good...",
    ),
    "story": (
        "So {recent} I {memory}, right?",
        "And then... {buddy} {memory}!",
        'I said, "Let\'s {action}!"',
        'But {buddy} only said, "{wow}"',
        "We laughed so hard, you know...",
        "It started with {problem}, of course.",
        "I mean, who would {action} {moment}?!",
        '"Never again!" I thought, but then we {memory}.',
        "And all that with {tool}, can you imagine?",
        "In the end it was {feeling}...",
        "Everybody says that {benefit}.",
        "So we had to {action}, too!",
        '{^buddy} was like, "{wow} {wow}"',
        "Honestly, I {memory} for hours...",
    ),
    "story_end": (
        "What would you have done?",
        "So yeah, that was my day!",
        "You should have seen it!!",
        "Crazy, isn't it?",
    ),
}


def hobby(rng: random.Random) -> Grammar:
    """A grammar about one hobby."""
    return about_a_hobby(rng, ADVICE, CHAT, rng.choice(TOPICS))


def advice_question(grammar: Grammar) -> tuple[str, str]:
    """(kind, question) about the grammar's hobby."""
    kind = grammar.rng.choice(list(KINDS))
    return kind, grammar.choose(KINDS[kind][0])


def advice_answer(grammar: Grammar, kind: str, length: str) -> str:
    """An assistant's answer in the style of its length bin.

    short: one or two plain sentences; medium: a paragraph held together by connectives; long: a heading, a
    numbered or bulleted list and a note; xlong: two such sections.
    """
    rng = grammar.rng
    if length == "medium":
        opening = f"{grammar.sentence('view')} {grammar.expand(rng.choice(KINDS[kind][1]))}"
        return grow(rng, length, lambda _: grammar.sentence("connected"), joiner=" ", opening=opening)
    lead = grammar.choose(KINDS[kind][1])
    if length == "short":
        return lead if rng.random() < 0.6 else f"{lead} {grammar.sentence('plain_end')}"
    return listed_advice(grammar, length, lead, joiner=" ")


def chat_answer(grammar: Grammar, length: str) -> str:
    """A friend's reply; see `styles.chat_answer`."""
    return styles.chat_answer(grammar, length, joiner=" ")


def chat_dialogue(rng: random.Random, lengths: list[str]) -> list[str]:
    """Alternating turns of two friends, beginning with a question; one reply a length."""
    grammar = hobby(rng)
    turns: list[str] = []
    for number, length in enumerate(lengths):
        turns.append(grammar.sentence("follow" if number else "opener"))
        turns.append(chat_answer(grammar, length))
    return turns
