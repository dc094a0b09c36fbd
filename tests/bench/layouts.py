"""The official raw layouts of the corpora, filled with synthetic items (tests/bench/synthetic.py)."""

import json
import uuid
import zipfile
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from polyalign.corpora.instructions import COIG_SUBSETS
from polyalign.demo.chinese_sources import CMRC_SCHEMA, DRCD_SCHEMA, OASST_SCHEMA
from polyalign.demo.english_sources import COQA_SCHEMA, DIALOGUES_A_FILE, SQUAD_SCHEMA
from polyalign.demo.english_web_sources import MS_MARCO_SCHEMA, NATURAL_QUESTIONS_SCHEMA
from polyalign.demo.layout import json_items, split_counts, write_parquet
from polyalign.files import dump_json, open_text, write_jsonl
from tests.bench.synthetic import Item, Writer

PASSAGES = 8
"""Passages of an ms_marco query; one is selected."""
QUESTIONS_A_PARAGRAPH = 4
TURNS_A_STORY = 15
PARTS = {"train": 0.8, "validation": 0.1, "test": 0.1}
HALVES = {"train": 0.9, "validation": 0.1}


def _table(folder: Path, split: str, schema: Any, rows: Iterable[dict[str, Any]]) -> None:
    write_parquet(folder / f"{split}-00000-of-00001.parquet", schema, rows)


def _one() -> int:
    return 1


def _dolly(writer: Writer, folder: Path, records: int) -> None:
    def rows() -> Iterator[dict[str, Any]]:
        for item in writer.items(records, _one):
            question, answer = item.pairs[0]
            # About three rows in ten come with a passage.
            context = item.context if question[0] < "F" else ""
            yield {"instruction": question, "context": context, "response": answer, "category": "open_qa"}

    write_jsonl(folder / "databricks-dolly-15k.jsonl", rows())


def _ms_marco(writer: Writer, folder: Path, records: int) -> None:
    def row(item: Item) -> dict[str, Any]:
        question, answer = item.pairs[0]
        others = [writer.text(writer.lengths.context) for _ in range(PASSAGES - 1)]
        return {
            "answers": [answer],
            "passages": {
                "is_selected": [0] * (PASSAGES - 1) + [1],
                "passage_text": [*others, item.context],
                "url": [f"https://bench.invalid/{item.number}/{n}" for n in range(PASSAGES)],
            },
            "query": question,
            "query_id": item.number,
            "query_type": "description",
            "wellFormedAnswers": [],
        }

    for split, count in split_counts(records, PARTS).items():
        _table(folder, split, MS_MARCO_SCHEMA, map(row, writer.items(count, _one)))


def _coqa(writer: Writer, folder: Path, records: int) -> None:
    def row(item: Item) -> dict[str, Any]:
        starts = [0] * len(item.pairs)
        answers = {
            "input_text": [answer for _, answer in item.pairs],
            "answer_start": starts,
            "answer_end": starts,
        }
        questions = [question for question, _ in item.pairs]
        return {"source": "bench", "story": item.context, "questions": questions, "answers": answers}

    for split, count in split_counts(-(-records // TURNS_A_STORY), HALVES).items():
        _table(folder, split, COQA_SCHEMA, map(row, writer.items(count, lambda: TURNS_A_STORY)))


def _eli5(writer: Writer, folder: Path, records: int) -> None:
    def row(item: Item) -> str:
        question, answer = item.pairs[0]
        others = [writer.text(writer.lengths.answer) for _ in range(item.number % 4)]
        scores = list(range(len(others), -1, -1))
        return dump_json(
            {
                "q_id": f"b{item.number:x}",
                "category": "Other",
                "title": question,
                "title_urls": {"url": []},
                "selftext": "",
                "selftext_urls": {"url": []},
                "subreddit": "explainlikeimfive",
                "answers": {
                    "a_id": [f"b{item.number:x}{n}" for n in range(len(scores))],
                    "text": [answer, *others],
                    "text_urls": [[] for _ in scores],
                    "score": scores,
                },
            }
        )

    shares = {"train": 0.8, "validation-1": 0.05, "validation-2": 0.05, "test": 0.1}
    for split, count in split_counts(records, shares).items():
        with open_text(folder / f"eli5-category-{split}.json.gz", "w") as file:
            file.writelines(json_items(map(row, writer.items(count, _one)), "[]"))


def _paragraph_rows(items: Iterable[Item], count: int, title: bool) -> Iterator[dict[str, Any]]:
    """Rows of a table with a row a question, paragraphs' questions one after another."""

    def rows() -> Iterator[dict[str, Any]]:
        for item in items:
            for place, (question, answer) in enumerate(item.pairs):
                # One SQuAD question in three has no answer.
                texts = [] if title and (item.number + place) % 3 == 0 else [answer]
                yield {
                    "id": f"b{item.number:06x}{place:02x}",
                    **({"title": f"Title_{item.number // 20}"} if title else {}),
                    "context": item.context,
                    "question": question,
                    "answers": {"text": texts, "answer_start": [0] * len(texts)},
                }

    return islice(rows(), count)


def _squad(writer: Writer, folder: Path, records: int) -> None:
    for split, count in split_counts(records, HALVES).items():
        items = writer.items(count, lambda: QUESTIONS_A_PARAGRAPH + 1)
        _table(folder, split, SQUAD_SCHEMA, _paragraph_rows(items, count, title=True))


def _cmrc(writer: Writer, folder: Path, records: int) -> None:
    for split, count in split_counts(records, PARTS).items():
        items = writer.items(count, lambda: QUESTIONS_A_PARAGRAPH)
        _table(folder, split, CMRC_SCHEMA, _paragraph_rows(items, count, title=False))


def _natural_questions(writer: Writer, folder: Path, records: int) -> None:
    pairs = (item.pairs[0] for item in writer.items(records, _one))
    rows = ({"query": question, "answer": answer} for question, answer in pairs)
    _table(folder, "train", NATURAL_QUESTIONS_SCHEMA, rows)


def _dailydialog(writer: Writer, folder: Path, records: int) -> None:
    # Dialogues of two to six exchanges, four on average; every exchange is a record.
    for split, count in split_counts(-(-records // 4), PARTS).items():
        lines: dict[str, list[int]] = {"act": [], "emotion": []}
        with zipfile.ZipFile(folder / f"{split}.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            with archive.open(f"dialogues_{split}.txt", "w", force_zip64=True) as file:
                for item in writer.items(count, lambda: writer.rng.randint(2, 6)):
                    turns = [turn for pair in item.pairs for turn in pair]
                    file.write((" ".join(f"{turn} __eou__" for turn in turns) + "\n").encode())
                    for numbers in lines.values():
                        numbers.append(len(turns))
            for name, numbers in lines.items():
                with archive.open(f"dialogues_{name}_{split}.txt", "w", force_zip64=True) as file:
                    for turns_there in numbers:
                        file.write(b"1 " * turns_there + b"\n")


def _multiwoz(writer: Writer, folder: Path, records: int) -> None:
    numbers: list[int] = []

    def dialogue(item: Item) -> str:
        turns: list[dict[str, Any]] = []
        for guest, desk in item.pairs:
            state = {
                "active_intent": "find_hotel",
                "requested_slots": [],
                "slot_values": {"hotel-area": ["north"]},
            }
            idle = {"active_intent": "NONE", "requested_slots": [], "slot_values": {}}
            services = ("hotel", "taxi", "train", "bus", "police", "restaurant", "attraction", "hospital")
            frames = [
                {"actions": [], "service": name, "slots": [], "state": state if name == "hotel" else idle}
                for name in services
            ]
            for speaker, text in (("USER", guest), ("SYSTEM", desk)):
                ours = frames if speaker == "USER" else []
                turn_id = str(len(turns))
                turns.append({"frames": ours, "speaker": speaker, "turn_id": turn_id, "utterance": text})
        numbers.append(len(turns))
        name = f"BENCH{len(numbers) - 1:07d}.json"
        return dump_json({"dialogue_id": name, "services": ["hotel"], "turns": turns})

    shares = {"train": 0.8, "dev": 0.1, "test": 0.1}
    for split, count in split_counts(-(-records // 7), shares).items():
        (folder / split).mkdir()
        items = writer.items(count, lambda: 7)
        for number in range(1, -(-count // DIALOGUES_A_FILE) + 1):
            with open(folder / split / f"dialogues_{number:03d}.json", "w", encoding="utf-8") as file:
                file.writelines(json_items(map(dialogue, islice(items, DIALOGUES_A_FILE)), "[]"))
    with open(folder / "dialog_acts.json", "w", encoding="utf-8") as file:
        act = {
            "dialog_act": {"Hotel-Inform": [["area", "north"]]},
            "span_info": [["Hotel-Inform", "area", "north", 3, 3]],
        }
        entries = (
            f'"BENCH{n:07d}.json": {json.dumps({str(turn): act for turn in range(turns)})}'
            for n, turns in enumerate(numbers)
        )
        file.writelines(json_items(entries, "{}"))


def _coig(writer: Writer, folder: Path, records: int) -> None:
    items = writer.items(records, _one)
    share = -(-records // len(COIG_SUBSETS))
    for subset in COIG_SUBSETS:
        (folder / subset).mkdir()
        rows = (
            {
                "instruction": item.pairs[0][0],
                "input": item.context if item.number % 8 == 0 else "",
                "output": item.pairs[0][1],
                "task_type": {"major": ["问答"], "minor": ["百科"]},
                "domain": ["通用"],
                "metadata": "bench",
                "answer_from": "human",
                "human_verified": True,
                "copyright": "bench",
            }
            for item in islice(items, share)
        )
        write_jsonl(folder / subset / f"{subset}.jsonl", rows)


def _hc3(writer: Writer, folder: Path, records: int) -> None:
    def row(item: Item) -> dict[str, Any]:
        question, answer = item.pairs[0]
        generated = [writer.text((200, 260))]
        return {
            "id": str(item.number),
            "question": question,
            "human_answers": [answer],
            "chatgpt_answers": generated,
            "source": "baike",
        }

    write_jsonl(folder / "all.jsonl", map(row, writer.items(records, _one)))


def _oasst2(writer: Writer, folder: Path, records: int) -> None:
    def messages(count: int) -> Iterator[dict[str, Any]]:
        # A conversation is a tree without side branches: two exchanges.
        for item in writer.items(count, lambda: 2):
            tree = str(uuid.UUID(int=writer.rng.getrandbits(128), version=4))
            parent, identity = None, tree
            for pair in item.pairs:
                for role, text in zip(("prompter", "assistant"), pair, strict=True):
                    yield {
                        "message_id": identity,
                        "parent_id": parent,
                        "text": text,
                        "role": role,
                        "lang": "zh",
                        "review_count": 3,
                        "review_result": True,
                        "deleted": False,
                        "rank": 0 if role == "assistant" else None,
                        "synthetic": False,
                        "message_tree_id": tree,
                        "tree_state": "ready_for_export",
                    }
                    parent = identity
                    identity = str(uuid.UUID(int=writer.rng.getrandbits(128), version=4))

    for split, count in split_counts(-(-records // 2), HALVES).items():
        _table(folder, split, OASST_SCHEMA, messages(count))


def _drcd(writer: Writer, folder: Path, records: int) -> None:
    def article(item: Item) -> dict[str, Any]:
        questions = [
            {
                "question": question,
                "id": f"{item.number}-1-{place}",
                "answers": [{"text": answer, "id": str(n), "answer_start": 0} for n in (1, 2)],
            }
            for place, (question, answer) in enumerate(item.pairs, start=1)
        ]
        paragraph = {"context": item.context, "id": f"{item.number}-1", "qas": questions}
        return {"title": f"條目{item.number}", "id": str(item.number), "paragraphs": [paragraph]}

    shares = {"train": 0.8, "dev": 0.1, "test": 0.1}
    for split, count in split_counts(-(-records // QUESTIONS_A_PARAGRAPH), shares).items():
        _table(folder, split, DRCD_SCHEMA, map(article, writer.items(count, lambda: QUESTIONS_A_PARAGRAPH)))


def _dureader(writer: Writer, folder: Path, records: int) -> None:
    for subset in ("checklist", "robust"):
        place = folder / "dummy" / subset / "1.0.0"
        place.mkdir(parents=True)
        with zipfile.ZipFile(place / "dummy_data.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            for name, count in split_counts(records // 2, {"train.json": 0.9, "dev.json": 0.1}).items():
                with archive.open(name, "w", force_zip64=True) as file:
                    paragraphs = (_dureader_paragraph(item, subset) for item in writer.items(count, _one))
                    file.write(b'{"data": [{"title": "", "paragraphs": ')
                    file.writelines(piece.encode() for piece in json_items(paragraphs, "[]"))
                    file.write(b"}]}\n")


def _dureader_paragraph(item: Item, subset: str) -> str:
    question, answer = item.pairs[0]
    asked = {
        "question": question,
        "id": f"{item.number:032x}",
        "answers": [{"text": answer, "answer_start": 0}],
    }
    if subset == "checklist":
        asked |= {"type": "in-domain", "is_impossible": False}
    return dump_json({"context": item.context, "qas": [asked], "title": ""})


LAYOUTS: dict[str, Callable[[Writer, Path, int], None]] = {
    "dolly": _dolly,
    "ms_marco": _ms_marco,
    "coqa": _coqa,
    "eli5_category": _eli5,
    "squad_v2": _squad,
    "natural_questions": _natural_questions,
    "dailydialog": _dailydialog,
    "multiwoz": _multiwoz,
    "coig_cqia": _coig,
    "hc3_chinese": _hc3,
    "oasst2_zh": _oasst2,
    "cmrc2018": _cmrc,
    "drcd": _drcd,
    "dureader": _dureader,
}
