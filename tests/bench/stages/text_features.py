"""Text features of the kits' answers, and of more like them, in both feature sets, on all cores."""

import os
from collections.abc import Callable
from functools import partial

from polyalign.features.text import TextExtractor
from polyalign.throughput import usable_cores
from tests.bench.harness import Case, Space
from tests.bench.kit import kit_folder, kit_rows, varied

TITLE = "Text features"
BOUND = (
    "Python code that meets words for the first time: `paper-v1` NLTK's tokenizer and tagger rules, `core-v1` HanTa's "
    "search for the best tags of a sentence, which takes half of its time; jieba takes a second to load. Counting is "
    "array work. Linear in characters, over processes; words met before cost little, so a whole corpus goes several "
    "times faster than the 2,000 rows of a kit, with which every process starts from nothing."
)


def _texts(language: str, answers: str) -> list[str]:
    if answers == "human":
        return [row["human_answer"] for row in kit_rows("current.jsonl", language)]
    return [row["prediction"] for row in kit_rows("predictions.jsonl", language)]


def _start(feature_set: str, language: str, answers: str, rows: int, space: Space) -> Callable[[], int]:
    os.environ["NLTK_DATA"] = str(kit_folder().parents[1] / "nltk_data")
    texts = varied(_texts(language, answers), rows)
    extractor = TextExtractor(feature_set, usable_cores())

    def run() -> int:
        with extractor as extract:
            return len(extract(texts))

    return run


SIZES = {"20k": 20_000, "51k": 51_480}

CASES = (
    *(
        Case(
            f"{feature_set} {language} {answers}",
            partial(_start, feature_set, language, answers, rows),
            published=f"text_features_{answers}" if language == "en" else None,
            # core-v1 measures other things with other tools; its ratio is for orientation.
            target=6.0 if language == "en" and feature_set == "paper-v1" else None,
            note=f"{rows:,} rows",
        )
        for feature_set in ("paper-v1", "core-v1")
        for language, rows in (("en", 2000), ("zh", 400))
        for answers in ("human", "predictions")
    ),
    *(
        Case(
            f"{feature_set} en human, {size}",
            partial(_start, feature_set, "en", "human", rows),
            published="text_features_human",
            target=6.0 if feature_set == "paper-v1" else None,
            note="the kit's answers, in further copies with one word of eight another",
        )
        for feature_set in ("paper-v1", "core-v1")
        for size, rows in SIZES.items()
    ),
)
