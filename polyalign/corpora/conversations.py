"""Conversations whose every answer is a record: CoQA, DailyDialog, MultiWOZ. docs/method.md, Corpora."""

import re
from collections.abc import Iterator
from itertools import zip_longest

from polyalign.corpora.source import (
    HELD_OUT_SPLIT,
    Draft,
    Place,
    Row,
    Source,
    Turn,
    decode,
    list_of,
    struct_of,
    text_of,
)
from polyalign.errors import BadInput
from polyalign.files import read_json
from polyalign.records import choose_split, normalize_text

_DAILYDIALOG_SPLITS = {"train": "train", "validation": "dev", "test": "test"}
_MULTIWOZ_SPLITS = {"train": ("train", "train"), "validation": ("dev", "dev"), "test": ("test", "test")}
_END_OF_UTTERANCE = "__eou__"


def _turn(role: str, text: str) -> Turn:
    return {"role": role, "text": normalize_text(text)}


def read_coqa(source: Source) -> Iterator[Draft]:
    """A record per question of a story; train split 90/10 by story into train and dev, validation as test."""
    columns = {"source": "text", "story": "text", "questions": "list", "answers": ("input_text",)}
    for official in ("train", "validation"):
        for index, (place, row) in enumerate(source.table(official, columns)):
            split = choose_split(row["story"], HELD_OUT_SPLIT, source.seed) if official == "train" else "test"
            yield from _coqa_drafts(source, official, split, f"coqa-{official}-{index:05d}", row, place)


def _coqa_drafts(
    source: Source, official: str, split: str, conversation: str, row: Row, place: Place
) -> Iterator[Draft]:
    """A draft per turn; a question without answer at the end of the story is counted."""
    questions = list_of(row, "questions", str, place)
    answers = list_of(struct_of(row, "answers", place), "input_text", str, place)
    story = normalize_text(row["story"])
    history: list[Turn] = []
    for turn, (question, answer) in enumerate(zip_longest(questions, answers)):
        if question is None or answer is None:
            source.drop("question without answer" if answer is None else "answer without question")
            continue
        asked, answered = _turn("user", question), _turn("assistant", answer)
        record_id = f"{conversation}-turn-{turn:03d}"
        yield Draft(
            split=split,
            id=record_id,
            question=asked["text"],
            human_answer=answered["text"],
            context=story,
            history=history,
            meta={
                "source_dataset": "stanfordnlp/coqa",
                "source_split": official,
                "source_id": record_id,
                "conversation_id": conversation,
                "source": row["source"],
                "turn_index": turn,
                "num_history_turns": len(history),
                "is_unknown_answer": answered["text"].lower() == "unknown",
            },
        )
        history = [*history, asked, answered]


def read_dailydialog(source: Source) -> Iterator[Draft]:
    """DailyDialog in its official splits: even utterances are the user's, every odd one is a record."""
    for official, split in _DAILYDIALOG_SPLITS.items():
        members = source.zip_members(
            f"{official}.zip",
            {
                "dialogues": f"dialogues_{official}.txt",
                "acts": f"dialogues_act_{official}.txt",
                "emotions": f"dialogues_emotion_{official}.txt",
            },
        )
        lines = {key: _lines(content, file) for key, (file, content) in members.items()}
        for index, line in enumerate(lines["dialogues"]):
            place = Place(members["dialogues"][0], index + 1)
            utterances = split_utterances(line, source.quirks)
            if len(utterances) < 2:
                source.drop("no answer")
                continue
            acts = _labels(lines["acts"], index, members["acts"][0], place)
            emotions = _labels(lines["emotions"], index, members["emotions"][0], place)
            yield from _dailydialog_drafts(split, official, index, utterances, acts, emotions)


def split_utterances(line: str, quirks: bool = False) -> list[str]:
    """The utterances of a dialogue line, each ended by a mark.

    Args:
        quirks: strip the letters of the mark at both ends of the line, as the published formatter did, which
            takes letters off a line that starts or ends with e, o, u or an underscore.
    """
    line = line.strip()
    if quirks:
        line = line.strip(_END_OF_UTTERANCE)
    return [text for text in map(normalize_text, line.split(_END_OF_UTTERANCE)) if text]


def _lines(content: bytes, file: str) -> list[str]:
    # Not splitlines: a dialogue may hold other line separators of Unicode.
    lines = re.split(r"\r\n|\n|\r", decode(content, file))
    return lines[:-1] if lines and not lines[-1] else lines


def _labels(lines: list[str], index: int, file: str, place: Place) -> list[int]:
    """The integer labels of dialogue `index`."""
    if index >= len(lines):
        raise BadInput(
            f"no labels for the dialogue in row {place.row} of {place.file}",
            file=file,
            row=index + 1,
            expected="as many lines as there are dialogues",
            fix="fetch or mirror the corpus again",
        )
    try:
        return [int(label) for label in lines[index].split()]
    except ValueError:
        raise Place(file, index + 1).problem("labels", lines[index], "whole numbers") from None


def _dailydialog_drafts(
    split: str, official: str, index: int, utterances: list[str], acts: list[int], emotions: list[int]
) -> Iterator[Draft]:
    """A draft per odd utterance; a label that is missing is null."""
    turns = [{"role": "user" if n % 2 == 0 else "assistant", "text": t} for n, t in enumerate(utterances)]
    for turn in range(1, len(turns), 2):
        record_id = f"dailydialog-{official}-{index:05d}-turn-{turn:03d}"
        yield Draft(
            split=split,
            id=record_id,
            question=utterances[turn - 1],
            human_answer=utterances[turn],
            context="",
            history=turns[:turn],
            meta={
                "source_dataset": "roskoN/dailydialog",
                "source_split": official,
                "source_id": record_id,
                "dialogue_id": f"{official}-{index:05d}",
                "turn_index": turn,
                "num_history_turns": turn,
                "target_act": acts[turn] if turn < len(acts) else None,
                "target_emotion": emotions[turn] if turn < len(emotions) else None,
                "role_projection": "alternating_roles_starting_with_user",
            },
        )


def read_multiwoz(source: Source) -> Iterator[Draft]:
    """MultiWOZ 2.2 in its official splits: every SYSTEM turn after a user turn is a record."""
    acts_file = source.file("dialog_acts.json")
    acts = read_json(acts_file)
    if not isinstance(acts, dict):
        raise BadInput("no object of dialogue acts", file=acts_file, expected="{dialogue: {turn: ...}}")
    for official, (folder, split) in _MULTIWOZ_SPLITS.items():
        for path in source.files(f"{folder}/dialogues_*.json"):
            dialogues = read_json(path)
            if not isinstance(dialogues, list):
                raise BadInput("no list of dialogues", file=path, expected="a JSON array")
            for number, dialogue in enumerate(dialogues, start=1):
                place = source.at = Place(str(path), number)
                if not isinstance(dialogue, dict):
                    raise place.problem("dialogue", dialogue, "an object")
                dialogue_acts = struct_of(acts, text_of(dialogue, "dialogue_id", place), place)
                yield from _multiwoz_drafts(source, official, split, dialogue, dialogue_acts, place)


def _multiwoz_drafts(
    source: Source, official: str, split: str, dialogue: Row, acts: Row, place: Place
) -> Iterator[Draft]:
    """A draft per SYSTEM turn; a SYSTEM turn that answers nobody is counted."""
    dialogue_id = dialogue["dialogue_id"]
    history: list[Turn] = []
    question: str | None = None
    if "turns" not in dialogue:
        raise place.problem("turns", None, "a list of dict")
    for index, row in enumerate(list_of(dialogue, "turns", dict, place)):
        speaker = text_of(row, "speaker", place)
        if speaker not in ("USER", "SYSTEM"):
            raise place.problem("speaker", speaker, "USER or SYSTEM")
        turn = _turn("user" if speaker == "USER" else "assistant", text_of(row, "utterance", place))
        if speaker == "USER":
            question = turn["text"]
        elif question is None:
            source.drop("system turn before any user turn")
        else:
            turn_id = text_of(row, "turn_id", place)
            record_id = f"multiwoz-{official}-{dialogue_id}-turn-{index:03d}"
            yield Draft(
                split=split,
                id=record_id,
                question=question,
                human_answer=turn["text"],
                context="",
                history=history,
                meta={
                    "source_dataset": "pfb30/multi_woz_v22",
                    "source_split": official,
                    "source_id": record_id,
                    "dialogue_id": dialogue_id,
                    "services": list_of(dialogue, "services", str, place),
                    "turn_id": turn_id,
                    "turn_index": index,
                    "num_history_turns": len(history),
                    "active_intents": _active_intents(row, place),
                    "dialogue_act_types": list(
                        struct_of(struct_of(acts, turn_id, place), "dialog_act", place)
                    ),
                },
            )
        history = [*history, turn]


def _active_intents(turn: Row, place: Place) -> list[str]:
    """Intents of the turn's frames that are active."""
    states = (struct_of(frame, "state", place) for frame in list_of(turn, "frames", dict, place))
    intents = (state.get("active_intent") for state in states)
    return [intent for intent in intents if intent and intent != "NONE"]
