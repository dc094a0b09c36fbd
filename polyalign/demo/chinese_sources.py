"""The Chinese demo corpora in their official raw layouts: cmrc2018, drcd, coig_cqia, oasst2_zh."""

import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pyarrow as pa

from polyalign.demo import chinese_advice as advice
from polyalign.demo import chinese_facts as facts
from polyalign.demo.grammar import Grammar, draw_length, item_rng
from polyalign.demo.layout import split_counts, spread, text_source, write_parquet
from polyalign.files import dump_json

CQIA_LENGTHS = {"short": 0.34, "medium": 0.33, "long": 0.32, "xlong": 0.012}
CHAT_LENGTHS = {"short": 0.36, "medium": 0.34, "long": 0.3}
PASSAGE_SHARE = 0.25
"""Share of coig_cqia rows that ask about a passage; they make the wiki subset."""
UNUSABLE_EVERY = 40
"""One coig_cqia row or message tree in so many must be dropped by the corpus's own rules."""

_ANSWERS = pa.struct([("text", pa.list_(pa.string())), ("answer_start", pa.list_(pa.int32()))])
CMRC_SCHEMA = pa.schema(
    [("id", pa.string()), ("context", pa.string()), ("question", pa.string()), ("answers", _ANSWERS)]
)
_DRCD_ANSWER = pa.struct([("text", pa.string()), ("id", pa.string()), ("answer_start", pa.int32())])
_DRCD_QUESTION = pa.struct(
    [("question", pa.string()), ("id", pa.string()), ("answers", pa.list_(_DRCD_ANSWER))]
)
_DRCD_PARAGRAPH = pa.struct(
    [("context", pa.string()), ("id", pa.string()), ("qas", pa.list_(_DRCD_QUESTION))]
)
DRCD_SCHEMA = pa.schema(
    [("title", pa.string()), ("id", pa.string()), ("paragraphs", pa.list_(_DRCD_PARAGRAPH))]
)
_DETOXIFY = (
    "toxicity",
    "severe_toxicity",
    "obscene",
    "identity_attack",
    "insult",
    "threat",
    "sexual_explicit",
)
OASST_SCHEMA = pa.schema(
    [
        ("message_id", pa.string()),
        ("parent_id", pa.string()),
        ("user_id", pa.string()),
        ("created_date", pa.string()),
        ("text", pa.string()),
        ("role", pa.string()),
        ("lang", pa.string()),
        ("review_count", pa.int32()),
        ("review_result", pa.bool_()),
        ("deleted", pa.bool_()),
        ("rank", pa.int32()),
        ("synthetic", pa.bool_()),
        ("model_name", pa.string()),
        ("detoxify", pa.struct([(name, pa.float64()) for name in _DETOXIFY])),
        ("message_tree_id", pa.string()),
        ("tree_state", pa.string()),
        ("emojis", pa.struct([("name", pa.list_(pa.string())), ("count", pa.list_(pa.int32()))])),
        (
            "labels",
            pa.struct(
                [
                    ("name", pa.list_(pa.string())),
                    ("value", pa.list_(pa.float64())),
                    ("count", pa.list_(pa.int32())),
                ]
            ),
        ),
    ]
)

# DRCD is written in traditional characters; these are the ones the passages use.
_TRADITIONAL = str.maketrans(
    "东两举么乐书于云仓们会农办动医后园图墙头学岛岭当时来树桥楼游灯点画码砖粮红织绿节蓝认谁资赛车边这邮里钟钢钱长门间顶颜风馆黄龙",
    "東兩舉麼樂書於雲倉們會農辦動醫後園圖牆頭學島嶺當時來樹橋樓遊燈點畫碼磚糧紅織綠節藍認誰資賽車邊這郵裡鐘鋼錢長門間頂顏風館黃龍",
)


def _asked_passage(
    rng_key: tuple[int, str, int], sentences: int, questions: int
) -> tuple[Grammar, str, list]:
    """(grammar, passage, [(question, answer, start)]) with every answer a span of the passage."""
    grammar = facts.place(item_rng(*rng_key))
    context, told = facts.passage(grammar, sentences)
    pairs = [facts.fact_question(grammar, name) for name in grammar.rng.sample(told, questions)]
    return grammar, context, [(question, answer, context.index(answer)) for question, answer in pairs]


def _cmrc_row(seed: int, number: int, index: int) -> dict[str, Any]:
    """Row `number` with the text of item `index`."""
    _, context, asked = _asked_passage((seed, "cmrc2018", index), 4, 1)
    question, answer, start = asked[0]
    # A question whose only answer is empty must be dropped.
    empty = index % UNUSABLE_EVERY == UNUSABLE_EVERY - 1
    return {
        "id": f"DEMO_{number}",
        "context": context,
        "question": question,
        "answers": {"text": ["" if empty else answer], "answer_start": [start]},
    }


def write_cmrc(out_dir: Path, rows: int, seed: int) -> None:
    """train, validation and test tables."""
    counts = split_counts(rows, {"train": 0.65, "validation": 0.1, "test": 0.25})
    for split, start, count in spread(counts):
        items = (_cmrc_row(seed, index, text_source(index, start)) for index in range(start, start + count))
        write_parquet(out_dir / f"{split}-00000-of-00001.parquet", CMRC_SCHEMA, items)


def _drcd_row(seed: int, position: int, index: int) -> dict[str, Any]:
    """Article at `position` with the text of item `index`."""
    grammar, context, asked = _asked_passage((seed, "drcd", index), 5, 2)
    number = str(1000 + position)
    questions = [
        {
            "question": question.translate(_TRADITIONAL),
            "id": f"{number}-1-{place}",
            "answers": [{"text": answer.translate(_TRADITIONAL), "id": "1", "answer_start": start}],
        }
        for place, (question, answer, start) in enumerate(asked, start=1)
    ]
    paragraph = {"context": context.translate(_TRADITIONAL), "id": f"{number}-1", "qas": questions}
    title = grammar.expand("{name}{kind}").translate(_TRADITIONAL)
    return {"title": title, "id": number, "paragraphs": [paragraph]}


def write_drcd(out_dir: Path, rows: int, seed: int) -> None:
    """train, dev and test tables of articles with one paragraph and two questions each."""
    counts = split_counts(-(-rows // 2), {"train": 0.65, "dev": 0.1, "test": 0.25})
    for split, start, count in spread(counts):
        items = (_drcd_row(seed, index, text_source(index, start)) for index in range(start, start + count))
        write_parquet(out_dir / f"{split}-00000-of-00001.parquet", DRCD_SCHEMA, items)


def _cqia_row(seed: int, index: int) -> tuple[str, dict[str, Any]]:
    """(subset, row); some rows are empty, written by a model, or not verified."""
    rng = item_rng(seed, "coig_cqia", index)
    length = draw_length(rng, CQIA_LENGTHS)
    if rng.random() < PASSAGE_SHARE and length != "xlong":
        grammar = facts.place(rng)
        subset, context = "wiki", facts.passage(grammar, 4)[0]
        question, answer = grammar.sentence("task"), facts.passage_answer(grammar, length)
        domain = ["百科", "建筑"]
    else:
        grammar = advice.hobby(rng)
        subset, context = rng.choice(("zhihu", "human_value")), ""
        kind, question = advice.advice_question(grammar)
        answer = advice.advice_answer(grammar, kind, length)
        domain = ["生活"]
    flaw = (index // UNUSABLE_EVERY) % 3 if index % UNUSABLE_EVERY == UNUSABLE_EVERY - 1 else None
    return subset, {
        "instruction": question,
        "input": context,
        "output": "" if flaw == 0 else answer,
        "task_type": {"major": ["问答"], "minor": ["生活问答"]},
        "domain": domain,
        "metadata": "演示数据",
        "answer_from": "llm" if flaw == 1 else "human",
        "human_verified": flaw != 2,
        "copyright": "演示数据，无版权限制",
    }


def write_cqia(out_dir: Path, rows: int, seed: int) -> None:
    """A folder a subset, each with one JSONL file."""
    with ExitStack() as stack:
        files: dict[str, Any] = {}
        for index in range(rows):
            subset, row = _cqia_row(seed, text_source(index))
            if subset not in files:
                (out_dir / subset).mkdir()
                path = out_dir / subset / f"{subset}_demo.jsonl"
                files[subset] = stack.enter_context(open(path, "w", encoding="utf-8"))
            files[subset].write(dump_json(row) + "\n")


def _message(
    tree: str, number: int, parent: str | None, role: str, text: str, **other: Any
) -> dict[str, Any]:
    identity = tree if parent is None else str(uuid.uuid5(uuid.UUID(tree), str(number)))
    return {
        "message_id": identity,
        "parent_id": parent,
        "text": text,
        "role": role,
        "lang": "zh",
        "review_count": 3,
        "review_result": True,
        "deleted": False,
        "synthetic": False,
        "message_tree_id": tree,
        "tree_state": "ready_for_export",
        **other,
    }


def _tree(seed: int, index: int, source: int) -> list[dict[str, Any]]:
    """The messages of one conversation tree: two ranked replies to the root, and for most a second exchange.

    The ids come from `index`, the texts from `source`. One tree in `UNUSABLE_EVERY` is unreviewed in its middle,
    deleted, not finished or not Chinese.
    """
    rng = item_rng(seed, "oasst2_zh", source)
    tree = str(uuid.uuid5(uuid.NAMESPACE_OID, f"demo/{seed}/{index}"))
    grammar = advice.hobby(rng)
    rows = [_message(tree, 0, None, "prompter", grammar.sentence("opener"))]
    for rank in range(rng.choice((1, 2))):
        text = advice.chat_answer(grammar, draw_length(rng, CHAT_LENGTHS))
        rows.append(_message(tree, len(rows), tree, "assistant", text, rank=rank))
    if rng.random() < 0.7:
        parent = rng.choice(rows[1:])["message_id"]
        rows.append(_message(tree, len(rows), parent, "prompter", grammar.sentence("follow"), rank=0))
        text = advice.chat_answer(grammar, draw_length(rng, CHAT_LENGTHS))
        rows.append(_message(tree, len(rows), rows[-1]["message_id"], "assistant", text, rank=0))
    if index % UNUSABLE_EVERY == UNUSABLE_EVERY - 1:
        flaw = (index // UNUSABLE_EVERY) % 4
        if flaw == 0:
            rows[1]["review_result"] = False
        else:
            change = ({"deleted": True}, {"tree_state": "aborted_low_grade"}, {"lang": "en"})[flaw - 1]
            rows = [{**row, **change} for row in rows]
    return rows


def write_oasst2(out_dir: Path, rows: int, seed: int) -> None:
    """train and validation tables, a message a row, trees one after another."""
    counts = split_counts(round(rows / 2.2), {"train": 0.8, "validation": 0.2})

    def messages(start: int, count: int) -> Iterator[dict[str, Any]]:
        for index in range(start, start + count):
            yield from _tree(seed, index, text_source(index, start))

    for split, start, count in spread(counts):
        write_parquet(out_dir / f"{split}-00000-of-00001.parquet", OASST_SCHEMA, messages(start, count))
