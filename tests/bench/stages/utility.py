"""Utility: exact match, token F1 and ROUGE-L of the kit's answers, and the Chinese-aware scores beside them."""

from collections.abc import Callable

from polyalign.metrics.utility import score_rows
from tests.bench.harness import Case, Space
from tests.bench.kit import kit_rows, varied

TITLE = "Utility"
BOUND = "The longest common subsequence of each pair of answers, by bits; linear in rows."


def _start(language: str, rows: int) -> Callable[[Space], Callable[[], int]]:
    def start(space: Space) -> Callable[[], int]:
        answers = varied([row["human_answer"] for row in kit_rows("current.jsonl", language)], rows)
        predictions = varied([row["prediction"] for row in kit_rows("predictions.jsonl", language)], rows)
        score_rows(["a word – 中文"], ["the word"])  # what the libraries load when they are first called

        def run() -> int:
            score_rows(predictions, answers)
            return len(answers)

        return run

    return start


CASES = (
    Case("en kit", _start("en", 2000), published="utility", target=40.0, note="2,000 rows"),
    *(
        Case(
            f"en kit, {size}",
            _start("en", rows),
            published="utility",
            target=40.0,
            note="in further copies with one word of eight another",
        )
        for size, rows in (("20k", 20_000), ("51k", 51_480))
    ),
    Case("zh kit", _start("zh", 400), note="400 rows, counted by characters too"),
)
