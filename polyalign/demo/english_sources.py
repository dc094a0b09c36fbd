"""The English demo corpora in their official raw layouts: dolly, squad_v2, coqa, dailydialog, multiwoz."""

import tempfile
import zipfile
from pathlib import Path
from typing import Any

import pyarrow as pa

from polyalign.demo import english_advice as advice
from polyalign.demo import english_facts as facts
from polyalign.demo.grammar import draw_length, item_rng
from polyalign.demo.layout import json_items, split_counts, spread, text_source, write_parquet
from polyalign.files import dump_json, write_jsonl

DOLLY_LENGTHS = {"short": 0.34, "medium": 0.33, "long": 0.32, "xlong": 0.012}
CHAT_LENGTHS = {"short": 0.38, "medium": 0.34, "long": 0.28}
PASSAGE_SHARE = 0.25
"""Share of dolly rows that ask about a passage."""
DOLLY_CATEGORIES = {
    "start": "general_qa",
    "why": "open_qa",
    "trouble": "open_qa",
    "way": "general_qa",
    "ideas": "brainstorming",
}
UNANSWERABLE_EVERY = 25
"""One squad_v2 question in so many has no answer."""

SQUAD_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("title", pa.string()),
        ("context", pa.string()),
        ("question", pa.string()),
        ("answers", pa.struct([("text", pa.list_(pa.string())), ("answer_start", pa.list_(pa.int32()))])),
    ]
)
COQA_SCHEMA = pa.schema(
    [
        ("source", pa.string()),
        ("story", pa.string()),
        ("questions", pa.list_(pa.string())),
        (
            "answers",
            pa.struct(
                [
                    ("input_text", pa.list_(pa.string())),
                    ("answer_start", pa.list_(pa.int32())),
                    ("answer_end", pa.list_(pa.int32())),
                ]
            ),
        ),
    ]
)


def _dolly_row(seed: int, index: int) -> dict[str, str]:
    rng = item_rng(seed, "dolly", index)
    length = draw_length(rng, DOLLY_LENGTHS)
    if rng.random() < PASSAGE_SHARE and length != "xlong":
        grammar = facts.place(rng)
        context, _ = facts.passage(grammar, 4)
        question, answer = grammar.sentence("task"), facts.passage_answer(grammar, length)
        return {
            "instruction": question,
            "context": context,
            "response": answer,
            "category": "summarization",
        }
    grammar = advice.hobby(rng)
    kind, question = advice.advice_question(grammar)
    answer = advice.advice_answer(grammar, kind, length)
    return {"instruction": question, "context": "", "response": answer, "category": DOLLY_CATEGORIES[kind]}


def write_dolly(out_dir: Path, rows: int, seed: int) -> None:
    """databricks-dolly-15k.jsonl: one instruction a line; now and then an earlier row again."""
    items = (_dolly_row(seed, text_source(index)) for index in range(rows))
    write_jsonl(out_dir / "databricks-dolly-15k.jsonl", items)


def _squad_row(seed: int, split: str, index: int) -> dict[str, Any]:
    # Three questions share a passage, as the real corpus has several a paragraph.
    rng = item_rng(seed, "squad_v2", index)
    grammar = facts.place(item_rng(seed, "squad_v2", "place", index // 3))
    context, told = facts.passage(grammar, 4)
    untold = [name for name in facts.FACTS if name not in told]
    unanswerable = index % UNANSWERABLE_EVERY == UNANSWERABLE_EVERY - 1
    grammar.rng.shuffle(told)
    grammar.rng = rng
    attribute = rng.choice(untold) if unanswerable else told[index % 3]
    question, answer = facts.fact_question(grammar, attribute)
    # The official validation split has several annotators, train has one.
    texts = [] if unanswerable else [answer] * (3 if split == "validation" else 1)
    return {
        "title": grammar.expand("{name}_{kind}"),
        "context": context,
        "question": question,
        "answers": {"text": texts, "answer_start": [context.index(text) for text in texts]},
    }


def write_squad(out_dir: Path, rows: int, seed: int) -> None:
    """train and validation tables; the validation questions become the test split."""
    counts = split_counts(rows, {"train": 0.75, "validation": 0.25})
    for split, start, count in spread(counts):
        # A repetition has an id of its own, as in the real release.
        items = (
            {**_squad_row(seed, split, text_source(index, start)), "id": f"demo{index:08x}"}
            for index in range(start, start + count)
        )
        write_parquet(out_dir / f"{split}-00000-of-00001.parquet", SQUAD_SCHEMA, items)


def _coqa_row(seed: int, index: int) -> dict[str, Any]:
    story, turns = facts.story(item_rng(seed, "coqa", index))
    starts = [story.find(span) if span else -1 for _, _, span in turns]
    ends = [
        start + len(span) if start >= 0 else -1 for start, (_, _, span) in zip(starts, turns, strict=True)
    ]
    return {
        "source": "demo",
        "story": story,
        "questions": [question for question, _, _ in turns],
        "answers": {
            "input_text": [answer for _, answer, _ in turns],
            "answer_start": starts,
            "answer_end": ends,
        },
    }


def write_coqa(out_dir: Path, rows: int, seed: int) -> None:
    """train and validation tables of stories with about four turns each."""
    counts = split_counts(-(-rows // 4), {"train": 0.75, "validation": 0.25})
    for split, start, count in spread(counts):
        items = (_coqa_row(seed, text_source(index, start)) for index in range(start, start + count))
        write_parquet(out_dir / f"{split}-00000-of-00001.parquet", COQA_SCHEMA, items)


def _chat(seed: int, index: int) -> tuple[list[str], list[int], list[int]]:
    """(turns, acts, emotions) of one dialogue; acts are 1 inform to 4 commissive, emotions 0 none, 4 happiness."""
    rng = item_rng(seed, "dailydialog", index)
    replies = rng.choices((1, 2, 3), weights=(0.55, 0.4, 0.05))[0]
    turns = advice.chat_dialogue(rng, [draw_length(rng, CHAT_LENGTHS) for _ in range(replies)])
    acts = [2 if "?" in turn[-1:] else 1 for turn in turns]
    emotions = [4 if "!" in turn else 0 for turn in turns]
    return turns, acts, emotions


def write_dailydialog(out_dir: Path, rows: int, seed: int) -> None:
    """{train,validation,test}.zip, each with the dialogues, their acts and their emotions, a dialogue a line."""
    counts = split_counts(round(rows / 1.5), {"train": 0.74, "validation": 0.08, "test": 0.18})
    for split, start, count in spread(counts):
        with (
            zipfile.ZipFile(out_dir / f"{split}.zip", "w", zipfile.ZIP_DEFLATED) as archive,
            tempfile.TemporaryFile("w+b") as acts,
            tempfile.TemporaryFile("w+b") as emotions,
        ):
            with archive.open(_member(f"dialogues_{split}.txt"), "w", force_zip64=True) as dialogues:
                for index in range(start, start + count):
                    turns, *labels = _chat(seed, text_source(index, start))
                    dialogues.write((" ".join(f"{turn} __eou__" for turn in turns) + "\n").encode())
                    for file, numbers in zip((acts, emotions), labels, strict=True):
                        file.write((" ".join(map(str, numbers)) + " \n").encode())
            for name, file in (("act", acts), ("emotion", emotions)):
                file.seek(0)
                with archive.open(_member(f"dialogues_{name}_{split}.txt"), "w", force_zip64=True) as member:
                    while block := file.read(1 << 20):
                        member.write(block)


def _member(name: str) -> zipfile.ZipInfo:
    """A zip entry without today's date, so that the same seed gives the same bytes."""
    entry = zipfile.ZipInfo(name)
    entry.compress_type = zipfile.ZIP_DEFLATED
    return entry


def _booking(seed: int, index: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """(dialogue, its dialogue acts by turn) in MultiWOZ 2.2 form."""
    service, turns = facts.booking(item_rng(seed, "multiwoz", index))
    utterances: list[dict[str, Any]] = []
    acts: dict[str, Any] = {}
    for guest, desk, act in turns:
        intent = "NONE" if act.startswith("general") else f"find_{service}"
        state = {"active_intent": intent, "requested_slots": [], "slot_values": {}}
        frames = [{"actions": [], "service": service, "slots": [], "state": state}]
        acts[str(len(utterances))] = {"dialog_act": {f"{service.capitalize()}-Inform": []}, "span_info": []}
        utterances.append(
            {"frames": frames, "speaker": "USER", "turn_id": str(len(utterances)), "utterance": guest}
        )
        acts[str(len(utterances))] = {"dialog_act": {act: []}, "span_info": []}
        utterances.append(
            {"frames": [], "speaker": "SYSTEM", "turn_id": str(len(utterances)), "utterance": desk}
        )
    return {"dialogue_id": f"DEMO{index:06d}.json", "services": [service], "turns": utterances}, acts


DIALOGUES_A_FILE = 512


def write_multiwoz(out_dir: Path, rows: int, seed: int) -> None:
    """{train,dev,test}/dialogues_NNN.json and dialog_acts.json."""
    counts = split_counts(-(-rows * 2 // 7), {"train": 0.68, "dev": 0.1, "test": 0.22})
    for split, start, count in spread(counts):
        (out_dir / split).mkdir()
        for number, first in enumerate(range(start, start + count, DIALOGUES_A_FILE), start=1):
            last = min(first + DIALOGUES_A_FILE, start + count)
            with open(out_dir / split / f"dialogues_{number:03d}.json", "w", encoding="utf-8") as file:
                items = (dump_json(_booking(seed, index)[0]) for index in range(first, last))
                file.writelines(json_items(items, "[]"))
    with open(out_dir / "dialog_acts.json", "w", encoding="utf-8") as file:
        every = (_booking(seed, index) for index in range(sum(counts.values())))
        items = (f"{dump_json(dialogue['dialogue_id'])}: {dump_json(acts)}" for dialogue, acts in every)
        file.writelines(json_items(items, "{}"))
