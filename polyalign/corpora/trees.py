"""Message trees: the Chinese part of OpenAssistant 2. docs/method.md, Corpora."""

from collections.abc import Iterator
from typing import NamedTuple

from polyalign.corpora.source import HELD_OUT_SPLIT, Draft, Source, Turn
from polyalign.errors import BadInput
from polyalign.records import choose_split, normalize_text

_COLUMNS = {
    "message_id": "text",
    "parent_id": "text?",
    "message_tree_id": "text",
    "text": "text?",
    "role": "text",
    "lang": "text?",
    "tree_state": "text?",
    "deleted": "any",
    "review_result": "any",
    "rank": "any",
    "created_date": "any",
    "review_count": "any",
}
_ROLES = {"prompter": "user", "assistant": "assistant"}


class _Message(NamedTuple):
    """A message that passed the filters by itself."""

    id: str
    parent: str | None
    tree: str
    turn: Turn
    rank: int | None
    created: str | None
    reviews: int | None
    state: str


def read_oasst2_zh(source: Source) -> Iterator[Draft]:
    """Chinese assistant messages whose whole ancestry is kept; train 90/10 by tree, validation to test."""
    for official in ("train", "validation"):
        seen, messages = _read_messages(source, official)
        histories: dict[str, list[_Message] | None] = {}
        for message in messages.values():
            if message.turn["role"] != "assistant":
                continue
            branch = _ancestry(message.parent, seen, messages, histories)
            if branch is None:
                source.drop("ancestor left out")
            elif not branch or branch[-1].turn["role"] != "user":
                source.drop("answers no prompt")
            else:
                split = (
                    choose_split(message.tree, HELD_OUT_SPLIT, source.seed) if official == "train" else "test"
                )
                yield _draft(message, branch, official, split)


def _read_messages(source: Source, official: str) -> tuple[set[str], dict[str, _Message]]:
    """(ids of all messages, messages that pass the filters by themselves, in file order)."""
    seen: set[str] = set()
    messages: dict[str, _Message] = {}
    for place, row in source.table(official, _COLUMNS):
        if row["message_id"] in seen:
            raise BadInput(
                "this message stands here a second time",
                file=place.file,
                row=place.row,
                id=row["message_id"],
                field="message_id",
                expected="an id of its own for every message",
                fix="remove the repeated row, or fetch or mirror the corpus again",
            )
        seen.add(row["message_id"])
        if not (row["lang"] or "").lower().startswith("zh"):
            source.drop("not Chinese")
        elif row["tree_state"] != "ready_for_export":
            source.drop("tree not ready for export")
        elif row["deleted"]:
            source.drop("deleted")
        elif row["review_result"] is not True:
            source.drop("not passed by review")
        elif not (text := normalize_text(row["text"])):
            source.drop("empty message")
        elif row["role"] not in _ROLES:
            raise place.problem("role", row["role"], "prompter or assistant")
        else:
            messages[row["message_id"]] = _Message(
                id=row["message_id"],
                parent=row["parent_id"],
                tree=row["message_tree_id"],
                turn={"role": _ROLES[row["role"]], "text": text},
                rank=row["rank"],
                created=row["created_date"],
                reviews=row["review_count"],
                state=row["tree_state"],
            )
    return seen, messages


def _ancestry(
    start: str | None,
    seen: set[str],
    messages: dict[str, _Message],
    known: dict[str, list[_Message] | None],
) -> list[_Message] | None:
    """Messages from the root down to `start`, or None where one of them was left out or they form a circle.

    A parent that the file does not hold at all ends the branch, as a root does.
    """
    path: list[str] = []
    current = start
    while current is not None and current in seen and current not in known and current not in path:
        path.append(current)
        current = messages[current].parent if current in messages else None
    circle = current in path
    branch = known.get(current, []) if current is not None and not circle else []
    for identifier in reversed(path):
        message = messages.get(identifier)
        branch = None if circle or branch is None or message is None else [*branch, message]
        known[identifier] = branch
    return branch


def _draft(message: _Message, branch: list[_Message], official: str, split: str) -> Draft:
    history = [ancestor.turn for ancestor in branch[:-1]]
    return Draft(
        split=split,
        id=f"oasst2-zh-{official}-{message.id}",
        question=branch[-1].turn["text"],
        human_answer=message.turn["text"],
        context="",
        history=history,
        meta={
            "source_dataset": "OpenAssistant/oasst2",
            "source_split": official,
            "source_id": message.id,
            "message_tree_id": message.tree,
            "parent_id": message.parent,
            "rank": message.rank,
            "created_date": message.created,
            "review_count": message.reviews,
            "tree_state": message.state,
            "num_history_turns": len(history),
        },
    )
