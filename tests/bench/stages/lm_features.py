"""Language-model features of the kits' answers under their tiny model, on all cores."""

from collections.abc import Callable
from functools import partial

from polyalign.features.lm import LmScorer
from polyalign.features.scorer import load_scorer
from polyalign.throughput import usable_cores
from tests.bench.harness import Case, Space
from tests.bench.kit import kit_folder, kit_rows, varied

TITLE = "Language-model features"
BOUND = (
    "Arithmetic of the model: attention, whose heads of 16 numbers use a CPU badly and whose work grows with the "
    "square of the length, and matrix products, half of them logits, take a third of the time each; log-softmax and "
    "tokenizing a tenth each. Two passes a row of up to 1,024 tokens; a batch on each core."
)


def _start(language: str, rows: int, space: Space) -> Callable[[], int]:
    records = kit_rows("current.jsonl", language)
    answers = [record["human_answer"] for record in records]
    if rows < len(records):
        some = slice(None, None, len(records) // rows)
        records, answers = records[some], answers[some]
    else:
        records = [records[row % len(records)] for row in range(rows)]
        answers = varied(answers, rows)
    scorer = load_scorer(
        kit_folder().parent / "tiny_lm", max_length=1024, truncation="published", threads=usable_cores()
    )
    score = LmScorer(scorer)
    score(records[:1], ["warm"])

    def run() -> int:
        return len(score(records, answers))

    return run


CASES = (
    Case(
        "en kit",
        partial(_start, "en", 2000),
        published="lm_scoring",
        target=4.0,
        note="534 tokens a row",
    ),
    Case(
        "en kit, part", partial(_start, "en", 200), published="lm_scoring", target=4.0, note="every tenth row"
    ),
    *(
        Case(
            f"en kit, {size}",
            partial(_start, "en", rows),
            published="lm_scoring",
            target=4.0,
            note="the kit's prompts, answers in further copies with one word of eight another",
        )
        for size, rows in (("20k", 20_000), ("51k", 51_480))
    ),
    Case("zh kit", partial(_start, "zh", 400), note="400 rows, 1,074 tokens a row"),
)
