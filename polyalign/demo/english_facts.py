"""English texts with checkable answers: passages with spans, stories with turns, and booking dialogues."""

import random

from polyalign.demo import styles
from polyalign.demo.english_words import BOOKINGS, PLACES, STORIES
from polyalign.demo.grammar import Grammar

# attribute -> (sentence of the passage, questions); the answer is the attribute's value, verbatim.
FACTS = {
    "year": (
        ("The {name} {kind} was built in {year}.", "Work on the {name} {kind} ended in {year}."),
        ("When was the {name} {kind} built?", "In which year was the {name} {kind} finished?"),
    ),
    "builder": (
        ("It was paid for by {builder}.", "The money came from {builder}."),
        ("Who paid for the {name} {kind}?", "Who gave the money for the {name} {kind}?"),
    ),
    "material": (
        ("Its walls are made of {material}.", "The builders used {material} for the walls."),
        (
            "What are the walls of the {name} {kind} made of?",
            "Which material was used for the {name} {kind}?",
        ),
    ),
    "setting": (
        ("It stands {setting}.", "Visitors find it {setting}."),
        ("Where does the {name} {kind} stand?", "Where can visitors find the {name} {kind}?"),
    ),
    "height": (
        ("The building is {height} metres high.", "Its highest point reaches {height} metres."),
        ("How many metres high is the {name} {kind}?", "How high is the {name} {kind} in metres?"),
    ),
    "purpose": (
        ("For many years it served as {purpose}.", "Later it was used as {purpose}."),
        ("What did the {name} {kind} serve as for many years?", "What was the {name} {kind} used as?"),
    ),
    "festival": (
        (
            "Every {season} the town holds {festival} there.",
            "In {season}, {festival} takes place in front of it.",
        ),
        ("What takes place at the {name} {kind} each year?", "What does the town hold at the {name} {kind}?"),
    ),
    "colour": (
        ("The {colour} door is famous in the whole region.", "Many people know its {colour} roof."),
        (
            "Which colour is the {name} {kind} known for?",
            "What colour do people know from the {name} {kind}?",
        ),
    ),
}

# What the assistant makes of a passage.
PASSAGE_TASKS = {
    "task": (
        "Summarize the text about the {name} {kind}.",
        "What does the text say about the {name} {kind}?",
        "Describe the {name} {kind} with the help of the text.",
        "What should a visitor know about the {name} {kind}?",
    ),
    "gist": (
        "the {name} {kind} was built in {year} and stands {setting}.",
        "the {name} {kind} is {height} metres high.",
        "the text is about the {name} {kind}, built in {year}.",
    ),
    "told": (
        "First, the text says that it was built in {year}.",
        "It also mentions that {builder} paid for it.",
        "In addition, the walls are made of {material}.",
        "For many years, however, it served as {purpose}.",
        "As a result of its place {setting}, it is easy to find.",
        "Moreover, it is {height} metres high.",
        "In {season}, the town holds {festival}.",
        "On the other hand, the {colour} colour is what people remember.",
    ),
    "entry": (
        "Year: it was built in {year}.",
        "Builder: {builder} paid for it.",
        "Material: the walls are made of {material}.",
        "Place: it stands {setting}.",
        "Height: {height} metres.",
        "Use: for many years it served as {purpose}.",
        "Event: the town holds {festival} every {season}.",
        "Colour: the {colour} door and the {colour} roof.",
        "Visit: plan about {minutes} minutes for a tour.",
        "Ticket: {price} coins for adults, free for children.",
        "Opening: from {hour} in the morning, closed on {day}.",
        "Guide: tours start every {minutes} minutes.",
        "Tip: the view is best in {season}.",
    ),
}
NUMBERS = {
    "minutes": ("20", "30", "45", "60", "90"),
    "price": ("3", "4", "5", "6", "8"),
    "hour": ("8", "9", "10", "11"),
    "day": STORIES["day"],
}


def place(rng: random.Random) -> Grammar:
    """A grammar in which every fact about one invented building is fixed."""
    grammar = Grammar(rng, PLACES, PASSAGE_TASKS, NUMBERS)
    for attribute in ("name", "kind", "season", *FACTS):
        if attribute in PLACES:
            grammar.bind(attribute, attribute)
    grammar.rules["year"] = (str(rng.randint(1620, 1989)),)
    grammar.rules["height"] = (str(rng.randint(11, 98)),)
    return grammar


def passage(grammar: Grammar, sentences: int) -> tuple[str, list[str]]:
    """(passage, attributes it tells), the building's name first."""
    attributes = grammar.rng.sample(list(FACTS), sentences)
    # The first sentence names the building, as only the year's sentences do.
    attributes = ["year", *(name for name in attributes if name != "year")]
    return " ".join(grammar.choose(FACTS[name][0]) for name in attributes), attributes


def fact_question(grammar: Grammar, attribute: str) -> tuple[str, str]:
    """(question, answer) about one attribute; the answer is a span of any passage that tells it."""
    return grammar.choose(FACTS[attribute][1]), grammar.expand("{" + attribute + "}")


def passage_answer(grammar: Grammar, length: str) -> str:
    """The assistant's summary of a passage; see `styles.passage_answer`."""
    return styles.passage_answer(
        grammar, length, joiner=" ", opening="## The {name} {kind}\n{^gist} Facts from the text:"
    )


def story(rng: random.Random) -> tuple[str, list[tuple[str, str, str]]]:
    """(story, turns): each turn is (question, answer, the supporting span of the story or "")."""
    girl = rng.random() < 0.5
    grammar = Grammar(rng, STORIES, {"he": ("she" if girl else "he",), "his": ("her" if girl else "his",)})
    grammar.bind("hero", "girl" if girl else "boy")
    for name in STORIES:
        grammar.bind(name, name)
    animal_bought = rng.random() < 0.5
    text = grammar.expand(
        "On {day}, {hero} took the {vehicle} to the {spot} with {his} {relative}. "
        "There {he} saw a {shade} {goods} that cost {amount} coins. "
        + ("{^he} bought it at once. " if animal_bought else "{^he} did not buy it. ")
        + "Later a {animal} ran up to them and wanted to play. At noon they ate {meal} by the water. "
        "In the evening {hero} was {mood} and told everyone about the {animal}."
    )
    turns = [
        ("Who is the story about?", "{hero}", "{hero}"),
        (grammar.choose(("Where did {he} go?", "What place did {he} visit?")), "the {spot}", "the {spot}"),
        (grammar.choose(("When was that?", "On which day?")), "on {day}", "{day}"),
        ("How did they get there?", "by {vehicle}", "{vehicle}"),
        ("Who went along?", "{his} {relative}", "{his} {relative}"),
        ("What did {he} see there?", "a {shade} {goods}", "a {shade} {goods}"),
        ("How much did it cost?", "{amount} coins", "{amount} coins"),
        (
            "Did {he} buy it?",
            "yes" if animal_bought else "no",
            "bought it" if animal_bought else "did not buy it",
        ),
        ("Which animal ran up to them?", "a {animal}", "a {animal}"),
        ("What did they eat?", "{meal}", "{meal}"),
        ("How did {he} feel in the evening?", "{mood}", "{mood}"),
        (grammar.choose(("What was the weather like?", "How old is {hero}?")), "unknown", ""),
    ]
    count = rng.randint(3, 5)
    # In the order of the story, as a reader asks.
    chosen = [turns[0], *(turns[index] for index in sorted(rng.sample(range(1, len(turns)), count - 1)))]
    return text, [tuple(grammar.expand(part) for part in turn) for turn in chosen]


# service -> turns of (guest, desk, dialogue act of the desk)
SERVICES = {
    "restaurant": [
        (
            "I am looking for a {price} restaurant in the {area}, please.",
            "There are {count} {price} restaurants in the {area}. What kind of food would you like?",
            "Restaurant-Request",
        ),
        (
            "I would like {food} food, please.",
            "I would suggest {diner}. It serves {price} {food} food. Would you like me to book a table?",
            "Restaurant-Recommend",
        ),
        (
            "Yes, please book a table for {people} people at {hour}:{minute} on {day}.",
            (
                "Your table at {diner} is reserved for {people} people on {day} at {hour}:{minute}. "
                "Your reference number is {reference}."
            ),
            "Booking-Book",
        ),
        (
            "Could you also give me the address and phone number?",
            (
                "Certainly. {^diner} is located at {number} {street} in the {area}, and the phone number is "
                "{phone}. The staff will keep your table for fifteen minutes. May I help you with anything else?"
            ),
            "Restaurant-Inform",
        ),
    ],
    "hotel": [
        (
            "Hello, I need a {price} hotel in the {area} with free parking.",
            "I have {count} hotels that match your request. Would you prefer a guesthouse or a hotel?",
            "Hotel-Request",
        ),
        (
            "A guesthouse would be fine. Does it have free wifi?",
            "Yes, {inn} offers free wifi and free parking. It is in the {area}. Shall I book a room for you?",
            "Hotel-Recommend",
        ),
        (
            "Yes, for {people} people and {nights} nights from {day}, please.",
            (
                "I have booked {inn} for {people} people and {nights} nights, starting on {day}. "
                "The reference number is {reference}."
            ),
            "Booking-Book",
        ),
    ],
    "train": [
        (
            "I need a train to {city} on {day}.",
            "I can help you with that. Where will you be departing from, and at what time?",
            "Train-Request",
        ),
        (
            "From {origin}, after {hour}:{minute} please.",
            (
                "Train TR{number} leaves {origin} at {hour}:{minute} and arrives in {city} {ride} minutes later. "
                "Would you like a ticket?"
            ),
            "Train-OfferBook",
        ),
        (
            "Yes, {people} tickets please.",
            (
                "I have booked {people} tickets for you. The fee of {fee} pounds is payable at the station. "
                "Your reference number is {reference}."
            ),
            "Train-OfferBooked",
        ),
    ],
    "attraction": [
        (
            "Can you recommend something to visit in the {area}?",
            "Of course. {^sight} in the {area} is very popular, and the entrance fee is {fee} pounds.",
            "Attraction-Recommend",
        ),
        (
            "That sounds good. What is the postcode, please?",
            "The postcode of {sight} is cb{number}. Would you like any other information?",
            "Attraction-Inform",
        ),
    ],
}
FAREWELLS = (
    ("No, thank you. That is all I need.", "You are welcome. Have a lovely day!", "general-bye"),
    (
        "Thank you very much for your help!",
        "It was my pleasure. Thank you for calling, and goodbye.",
        "general-bye",
    ),
    (
        "Great, that was everything. Goodbye.",
        "Thank you for using our service. Enjoy your stay!",
        "general-bye",
    ),
)


def booking(rng: random.Random) -> tuple[str, list[tuple[str, str, str]]]:
    """(service, turns): each turn is (the guest's words, the desk's answer, the desk's dialogue act)."""
    service = rng.choice(list(SERVICES))
    grammar = Grammar(rng, BOOKINGS)
    for name in BOOKINGS:
        grammar.bind(name, name)
    grammar.rules.update(
        origin=(rng.choice([city for city in BOOKINGS["city"] if city != grammar.rules["city"][0]]),),
        count=(str(rng.randint(2, 14)),),
        people=(str(rng.randint(2, 8)),),
        nights=(str(rng.randint(2, 5)),),
        hour=(str(rng.randint(10, 19)),),
        minute=(rng.choice(("00", "15", "30", "45")),),
        number=(str(rng.randint(10, 99)),),
        ride=(str(rng.randint(17, 105)),),
        fee=(str(rng.randint(4, 40)),),
        phone=(f"01223 {rng.randint(100, 999)}",),
        reference=(rng.choice("ABCDEFGHKMNPRT") + str(rng.randint(100, 999)),),
    )
    turns = [*SERVICES[service], rng.choice(FAREWELLS)]
    return service, [tuple(grammar.expand(part) for part in turn) for turn in turns]
