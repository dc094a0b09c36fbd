"""English web search: typed queries about invented buildings, found passages, and encyclopaedic paragraphs."""

import random

from polyalign.demo.english_facts import passage, place
from polyalign.demo.english_words import PLACES
from polyalign.demo.grammar import Grammar, grow

# attribute -> (kind of query, queries as typed, the answer as a whole sentence)
QUERIES = {
    "year": (
        "numeric",
        ("when was the {name} {kind} built", "{name} {kind} year built"),
        "The {name} {kind} was built in {year}.",
    ),
    "builder": (
        "person",
        ("who paid for the {name} {kind}", "{name} {kind} money came from"),
        "The {name} {kind} was paid for by {builder}.",
    ),
    "material": (
        "entity",
        ("what is the {name} {kind} made of", "{name} {kind} walls material"),
        "The walls of the {name} {kind} are made of {material}.",
    ),
    "setting": (
        "location",
        ("where is the {name} {kind}", "{name} {kind} location"),
        "The {name} {kind} stands {setting}.",
    ),
    "height": (
        "numeric",
        ("how high is the {name} {kind} in metres", "{name} {kind} height"),
        "The {name} {kind} is {height} metres high.",
    ),
    "purpose": (
        "description",
        ("what was the {name} {kind} used for", "{name} {kind} former use"),
        "For many years the {name} {kind} served as {purpose}.",
    ),
    "festival": (
        "entity",
        ("what takes place at the {name} {kind}", "{name} {kind} events"),
        "Every {season} the {name} {kind} is home to {festival}.",
    ),
    "colour": (
        "entity",
        ("what colour is the {name} {kind} known for", "{name} {kind} colour"),
        "The {name} {kind} is known for the colour {colour}.",
    ),
}
OVERVIEW = (
    "description",
    ("what is the {name} {kind}", "{name} {kind} facts", "{name} {kind} history"),
    "The {name} {kind} was built in {year} and {second}.",
)
"""Query that asks for no attribute in particular; its answer tells the year and one more fact."""
SECONDS = {
    "builder": "was paid for by {builder}",
    "material": "has walls of {material}",
    "setting": "stands {setting}",
    "height": "is {height} metres high",
    "purpose": "served as {purpose}",
    "festival": "is home to {festival} in {season}",
    "colour": "is known for the colour {colour}",
}
OVERVIEW_SHARE = 0.3
PASSAGE_FACTS = 2
"""Facts drawn for a found passage: the contexts of a tiny model have to be short."""

ENTRY = {
    "lead": (
        "The {title} is a {material} {kind} {setting}, finished in {year}.",
        "The {title}, completed in {year}, is a {kind} built of {material}.",
        "The {title} is a {kind} {setting} that dates from {year} and is {height} metres high.",
    ),
    "entry": (
        "Construction was paid for by {builder} and lasted {few} years.",
        "Its walls of {material} rise to a height of {height} metres.",
        "From {later} it served as {purpose}.",
        "After a fire in {later}, the roof was replaced within {few} months.",
        "Each {season}, it is the site of {festival}, which attracts about {crowd} visitors.",
        "The {colour} paint of its doors is recorded as early as {later}.",
        "Since {recent}, the {kind} has been a protected monument.",
        "The architect is unknown, although {few} plans survive in the town archive.",
        "A smaller {kind} of the same design stood nearby until {recent}.",
        "Ownership passed from {builder} to the county in {recent}.",
        "The interior is divided into {few} halls, two of which are open to the public.",
        "The name {name} is first mentioned in a letter of {year}.",
        "A survey of {recent} found the foundations to be in good condition.",
        "The {kind} appears on the coat of arms of {name}.",
    ),
    "few": ("three", "four", "five", "six", "seven", "eight"),
    "crowd": ("2,000", "3,500", "4,000", "6,500", "8,000"),
}
ENTRY_QUERIES = (
    "where is the {name} {kind} located",
    "when was the {name} {kind} built",
    "who built the {name} {kind}",
    "history of the {name} {kind}",
    "what is the {name} {kind} known for",
    "what was the {name} {kind} used for",
    "how old is the {name} {kind}",
    "why is the {name} {kind} famous",
    "who owns the {name} {kind}",
)


def found_passages(grammar: Grammar, others: int) -> tuple[str, list[str], list[str]]:
    """(passage about the grammar's place, attributes it tells, `others` passages about other places)."""
    text, told = passage(grammar, PASSAGE_FACTS)
    # Another place of the same kind must not carry the same name.
    elsewhere = [name for name in PLACES["name"] if name != grammar.rules["name"][0]]
    names = grammar.rng.sample(elsewhere, others)
    return text, told, [_other_passage(grammar.rng, name) for name in names]


def _other_passage(rng: random.Random, name: str) -> str:
    grammar = place(rng)
    grammar.rules["name"] = (name,)
    return passage(grammar, 1)[0]


def search_query(grammar: Grammar, told: list[str]) -> tuple[str, str, str, str]:
    """(query, its type, answer as a span, answer as a sentence) from the facts that a passage tells.

    The span is empty where the query asks for no attribute in particular.
    """
    rng = grammar.rng
    if rng.random() < OVERVIEW_SHARE:
        kind, queries, sentence = OVERVIEW
        grammar.rules["second"] = (SECONDS[rng.choice([name for name in told if name != "year"])],)
        span = ""
    else:
        attribute = rng.choice(told)
        kind, queries, sentence = QUERIES[attribute]
        span = grammar.expand("{" + attribute + "}")
    return grammar.expand(rng.choice(queries)).lower(), kind, span, grammar.expand(sentence)


def encyclopedia(rng: random.Random) -> Grammar:
    """A grammar about one invented building with the dates of its later history."""
    grammar = place(rng)
    grammar.rules.update(ENTRY)
    year = int(grammar.rules["year"][0])
    grammar.rules["title"] = (grammar.expand("{name} {kind}").title(),)
    grammar.rules["later"] = tuple(str(year + step) for step in sorted(rng.sample(range(4, 24), 4)))
    grammar.rules["recent"] = tuple(str(rng.randint(1992, 2015)) for _ in range(3))
    return grammar


def entry_query(grammar: Grammar) -> str:
    """A query in lower case and without a question mark."""
    return grammar.expand(grammar.rng.choice(ENTRY_QUERIES)).lower()


def entry_paragraph(grammar: Grammar, length: str) -> str:
    """One plain paragraph of an encyclopaedia, medium or long."""
    return grow(
        grammar.rng,
        length,
        lambda _: grammar.sentence("entry"),
        joiner=" ",
        opening=grammar.sentence("lead"),
    )
