"""Utility: exact match, token F1 and ROUGE-L of the kit's answers, and the Chinese-aware scores beside them."""

from collections.abc import Callable

from polyalign.metrics.utility import score_rows
from tests.bench.harness import Case, Space
from tests.bench.kit import kit_rows

TITLE = "Utility"
BOUND = "The longest common subsequence of each pair of answers, by bits; linear in rows."


def _start(language: str, times: int) -> Callable[[Space], Callable[[], int]]:
    def start(space: Space) -> Callable[[], int]:
        answers = [row["human_answer"] for row in kit_rows("current.jsonl", language)] * times
        predictions = [row["prediction"] for row in kit_rows("predictions.jsonl", language)] * times
        score_rows(["a word – 中文"], ["the word"])  # what the libraries load when they are first called

        def run() -> int:
            score_rows(predictions, answers)
            return len(answers)

        return run

    return start


CASES = (
    Case("en kit", _start("en", 1), published="utility", target=40.0, note="2,000 rows"),
    Case("en kit x 25", _start("en", 25), published="utility", target=40.0, note="50,000 rows"),
    Case("zh kit", _start("zh", 1), note="400 rows, counted by characters too"),
)
