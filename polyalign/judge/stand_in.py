"""What a tiny judge learns from where no real one can be had: answers of known faults, with the grades these deserve.

A person's answer, another row's answer, shuffled words and nothing at all are graded by rule; a tiny model that reads
them for a moment shows that every part of the judge runs. How it grades says nothing about any answer. Its tokenizer is
its own, with the words of the rubric in it, or the prompt would fall into single bytes. See docs/judge.md, The demo.
"""

import json
import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from polyalign.errors import BadInput
from polyalign.judge.rubric import EMPTY_FLAG, HIGHEST, LOWEST, Rubric, load_rubric
from polyalign.prompts import (
    completion_ids,
    judge_messages,
    render_messages,
    text_ids,
    without_control_tokens_in,
)
from polyalign.tiny_model import train_tokenizer

TOKENIZER_TEXTS = 600
"""Texts of the language that the tokenizer is trained on; a rubric for each third of them."""
_FAULTS = {
    "none": {},
    "of another row": {"task_success": 4, "factual_grounding": 2, "reference_alignment": 4},
    "shuffled": {"task_success": 3, "instruction_following": 2, "discourse_naturalness": 4},
    "empty": dict.fromkeys(("task_success", "reference_alignment", "response_shape_and_length"), 4),
}
"""What a fault takes off the highest score."""
_NOISE = (0, 0, 0, 1)
"""Taken off each score by chance, so that two judges are not the same judge."""


def judge_tokenizer(texts: Sequence[str], base: Any) -> Any:
    """A tokenizer of the size and with the chat template of `base`, trained on texts and on the judge's prompt."""
    rubric = load_rubric()
    reply = _reply(dict.fromkeys(rubric.flags, False), dict.fromkeys(rubric.dimensions, HIGHEST))
    fixed = [rubric.text(), rubric.text(backwards=True), reply] * (TOKENIZER_TEXTS // 9)
    tags = judge_messages("", _EMPTY, "")[1]["content"]
    texts = [*texts[:TOKENIZER_TEXTS], *fixed, *[tags] * TOKENIZER_TEXTS]
    return train_tokenizer(texts, len(base), base.chat_template)


_EMPTY = {
    **dict.fromkeys(("language", "family", "track", "style_bucket", "length_bin"), ""),
    **dict.fromkeys(("question", "context", "human_answer"), ""),
    "dialogue_history": [],
}


def _reply(flags: Mapping[str, bool], scores: Mapping[str, int]) -> str:
    """A reply as structured output writes it."""
    return json.dumps({**flags, **scores}, separators=(",", ":"))


def graded_examples(
    tokenizer: Any, records: Sequence[Mapping[str, Any]], most_tokens: int, seed: int
) -> Iterator[tuple[list[int], list[int]]]:
    """Endless (prompt ids, reply ids) of answers with a fault or none, within `most_tokens` together.

    Raises:
        BadInput: hardly a record leaves room for the rubric and itself.
    """
    rubric, rng = load_rubric(), random.Random(seed)
    misses = 0
    while True:
        record, other = rng.sample(records, 2)
        fault = rng.choice(list(_FAULTS))
        answer = record["human_answer"]
        if fault == "of another row":
            answer = other["human_answer"]
        elif fault == "shuffled":
            units = list(answer) if record["language"] == "zh" else answer.split()
            rng.shuffle(units)
            answer = ("" if record["language"] == "zh" else " ").join(units)
        elif fault == "empty":
            answer = ""
        messages = without_control_tokens_in(tokenizer, judge_messages(rubric.text(), record, answer))
        prompt = text_ids(tokenizer, render_messages(tokenizer, messages))
        reply = completion_ids(tokenizer, _graded(rubric, fault, rng), "plain")
        if len(prompt) + len(reply) <= most_tokens:
            misses = 0
            yield prompt, reply
        elif (misses := misses + 1) == 1000:
            raise BadInput(
                f"a judge's prompt of {len(prompt)} tokens leaves no room for a row",
                field="sequence_length",
                expected=f"more than {most_tokens}",
            )


def _graded(rubric: Rubric, fault: str, rng: random.Random) -> str:
    scores = {
        name: max(LOWEST, HIGHEST - _FAULTS[fault].get(name, 0) - rng.choice(_NOISE))
        for name in rubric.dimensions
    }
    return _reply({name: name == EMPTY_FLAG and fault == "empty" for name in rubric.flags}, scores)
