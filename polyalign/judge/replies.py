"""What a judge said of a row: read, checked, capped and put together, or the reason why there is no score.

Definitions: docs/method.md, Judge, detectors and human evaluation.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from polyalign.judge.rows import JudgedRow
from polyalign.judge.rubric import EMPTY_FLAG, HIGHEST, LOWEST, Rubric

NO_ANSWER, TOO_LONG, CUT, UNPARSABLE, OUT_OF_RANGE = (
    "no_answer",
    "too_long",
    "cut",
    "unparsable",
    "out_of_range",
)
REASONS = {
    NO_ANSWER: "the prediction file has no answer to the row",
    TOO_LONG: "prompt and reply do not fit into the judge; nothing is ever cut off a prompt",
    CUT: "the reply ran into its limit",
    UNPARSABLE: "the reply is not the JSON object that was asked for",
    OUT_OF_RANGE: "a score is not from 1 to 5",
}
"""Why a row has no score."""
NOT_ASKED = (NO_ANSWER, TOO_LONG)
KEPT_CHARACTERS = 2000
"""Most of a reply that cannot be read that is kept to look at."""


@dataclass(frozen=True)
class Reply:
    """Flags and scores as the judge gave them."""

    flags: dict[str, bool]
    scores: dict[str, int]


def read_reply(text: str, finish_reason: str, rubric: Rubric) -> Reply | str:
    """The reply, or the key of `REASONS` that says why it counts for nothing; it is never guessed at."""
    if finish_reason == "error":
        return TOO_LONG
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return CUT if finish_reason == "length" else UNPARSABLE
    if not isinstance(value, dict) or set(value) != {*rubric.flags, *rubric.dimensions}:
        return UNPARSABLE
    flags = {name: value[name] for name in rubric.flags}
    scores = {name: value[name] for name in rubric.dimensions}
    if not all(isinstance(flag, bool) for flag in flags.values()):
        return UNPARSABLE
    if not all(isinstance(score, int) and not isinstance(score, bool) for score in scores.values()):
        return UNPARSABLE
    if not all(LOWEST <= score <= HIGHEST for score in scores.values()):
        return OUT_OF_RANGE
    return Reply(flags, scores)


def judged_row(row: JudgedRow, said: Mapping[str, Any] | None, rubric: Rubric, asked: str) -> dict[str, Any]:
    """The output row: capped scores and composites, or an error.

    Args:
        said: text, finish_reason and token counts of the reply; None where the row has no answer to judge.
        asked: `asked`, or the probe.
    """
    reply = NO_ANSWER if said is None else read_reply(said["text"], said["finish_reason"], rubric)
    found: dict[str, Any] = {
        "source_index": row.source_index,
        "id": row.id,
        "dataset": row.record["dataset"],
        "bucket_id": row.bucket_id,
        "asked": asked,
    }
    tokens = {name: said[name] if said else 0 for name in ("prompt_tokens", "completion_tokens")}
    if isinstance(reply, str):
        nothing = dict.fromkeys(("flags", "reported", "scores", "composites"))
        found |= {**nothing, **tokens, "error": reply}
        if reply not in NOT_ASKED:
            found["reply"] = said["text"][:KEPT_CHARACTERS]
        return found
    flags = dict(reply.flags)
    if EMPTY_FLAG in flags and not (row.answer or "").strip():
        flags[EMPTY_FLAG] = True
    scores = rubric.capped(reply.scores, flags)
    return {
        **found,
        "flags": flags,
        "reported": reply.scores,
        "scores": scores,
        "composites": rubric.composites_of(scores),
        **tokens,
        "error": None,
    }


def counts(rows: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Rows, those scored, errors by reason, flags set and rows with a score that was capped."""
    total = scored = capped = 0
    errors: Counter[str] = Counter()
    flags: Counter[str] = Counter()
    for row in rows:
        total += 1
        if row["error"]:
            errors[row["error"]] += 1
            continue
        scored += 1
        capped += row["scores"] != row["reported"]
        flags.update(name for name, value in row["flags"].items() if value)
    return {
        "rows": total,
        "scored": scored,
        "errors": dict(sorted(errors.items())),
        "flags": dict(sorted(flags.items())),
        "capped": capped,
    }
