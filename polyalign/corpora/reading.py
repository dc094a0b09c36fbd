"""Questions about a given text: SQuAD 2, CMRC 2018, DRCD and DuReader. docs/method.md, Corpora."""

from collections.abc import Iterator
from typing import Any

from polyalign.corpora.source import (
    HELD_OUT_SPLIT,
    Draft,
    Place,
    Row,
    Source,
    list_of,
    struct_of,
    text_of,
)
from polyalign.errors import BadInput
from polyalign.files import parse_json
from polyalign.records import choose_split, normalize_text

_CMRC_SPLITS = {"train": "train", "validation": "dev", "test": "test"}
_DRCD_SPLITS = ("train", "dev", "test")
_DUREADER_SUBSETS = ("checklist", "robust")
_DUREADER_SPLITS = {"train": ("train.json", "train"), "validation": ("dev.json", "dev")}
_QA_COLUMNS = {"id": "text", "context": "text", "question": "text", "answers": ("text",)}


def read_squad_v2(source: Source) -> Iterator[Draft]:
    """SQuAD 2.0: train 90/10 by paragraph to train and dev, validation to test; unanswerable rows stay."""
    for official in ("train", "validation"):
        for place, row in source.table(official, {**_QA_COLUMNS, "title": "text"}):
            texts = list_of(struct_of(row, "answers", place), "text", str, place)
            if official == "train":
                split = choose_split(f"{row['title']}::{row['context']}", HELD_OUT_SPLIT, source.seed)
            else:
                split = "test"
            yield Draft(
                split=split,
                id=f"squad-v2-{official}-{row['id']}",
                question=row["question"],
                human_answer=texts[0] if texts else "",
                context=row["context"],
                history=[],
                meta={
                    "source_dataset": "rajpurkar/squad_v2",
                    "source_split": official,
                    "source_id": row["id"],
                    "title": row["title"],
                    "answer_count": len(texts),
                    "is_unanswerable": not texts,
                },
            )


def read_cmrc2018(source: Source) -> Iterator[Draft]:
    """CMRC 2018 in its official splits, with the first answer that is not empty."""
    for official, split in _CMRC_SPLITS.items():
        for place, row in source.table(official, _QA_COLUMNS):
            answers = _filled(list_of(struct_of(row, "answers", place), "text", str, place))
            if not answers:
                source.drop("no answer")
                continue
            yield Draft(
                split=split,
                id=f"cmrc2018-{official}-{row['id']}",
                question=row["question"],
                human_answer=answers[0],
                context=row["context"],
                history=[],
                meta={
                    "source_dataset": "hfl/cmrc2018",
                    "source_split": official,
                    "source_id": row["id"],
                    "answer_count": len(answers),
                },
            )


def read_drcd(source: Source) -> Iterator[Draft]:
    """DRCD in its official splits: articles of paragraphs of questions, flattened."""
    columns = {"id": "text", "title": "text", "paragraphs": "list"}
    for split in _DRCD_SPLITS:
        for place, article in source.table(split, columns):
            for paragraph in list_of(article, "paragraphs", dict, place):
                for question in list_of(paragraph, "qas", dict, place):
                    answers = _filled(
                        text_of(answer, "text", place) for answer in list_of(question, "answers", dict, place)
                    )
                    if not answers:
                        source.drop("no answer")
                        continue
                    yield _drcd_draft(split, article, paragraph, question, answers, place)


def _drcd_draft(
    split: str, article: Row, paragraph: Row, question: Row, answers: list[str], place: Place
) -> Draft:
    source_id = text_of(question, "id", place)
    return Draft(
        split=split,
        id=f"drcd-{split}-{source_id}",
        question=text_of(question, "question", place),
        human_answer=answers[0],
        context=text_of(paragraph, "context", place),
        history=[],
        meta={
            "source_dataset": "voidful/DRCD",
            "source_split": split,
            "source_id": source_id,
            "article_id": article["id"],
            "paragraph_id": text_of(paragraph, "id", place),
            "title": article["title"],
            "answer_count": len(answers),
        },
    )


def read_dureader(source: Source) -> Iterator[Draft]:
    """DuReader checklist and robust, train and dev, without impossible checklist questions."""
    for subset in _DUREADER_SUBSETS:
        name = f"dummy/{subset}/1.0.0/dummy_data.zip"
        wanted = {official: base for official, (base, _) in _DUREADER_SPLITS.items()}
        members = source.zip_members(name, wanted)
        for official, (_, split) in _DUREADER_SPLITS.items():
            file, content = members[official]
            for place, title, context, question in _dureader_questions(content, file, source):
                source.at = place
                answers = _dureader_answers(question.get("answers"), place)
                impossible = bool(question.get("is_impossible", False))
                if impossible and subset == "checklist":
                    source.drop("impossible question")
                elif not answers:
                    source.drop("no answer")
                else:
                    source_id = text_of(question, "id", place)
                    yield Draft(
                        split=split,
                        id=f"dureader-{subset}-{official}-{source_id}",
                        question=text_of(question, "question", place),
                        human_answer=answers[0],
                        context=context,
                        history=[],
                        meta={
                            "source_dataset": "luozhouyang/dureader",
                            "source_subset": subset,
                            "source_split": official,
                            "source_id": source_id,
                            "title": title,
                            "is_impossible": impossible,
                            "answer_count": len(answers),
                            "type": question.get("type") or "",
                        },
                    )


def _dureader_questions(content: bytes, file: str, source: Source) -> Iterator[tuple[Place, str, str, Row]]:
    """(place, title, context, question) of a member: articles of paragraphs, or a flat list of rows."""
    document = parse_json(content, file=file)
    items = document.get("data") if isinstance(document, dict) else document
    if not isinstance(items, list):
        raise BadInput("no list of rows", file=file, field="data", expected="a list, or an object with one")
    number = 0
    for item in items:
        if not isinstance(item, dict):
            source.drop("row is not an object")
            continue
        title = item.get("title") or ""
        if "paragraphs" not in item:
            number += 1
            place = Place(file, number)
            yield place, title, text_of(item, "context", place), item
            continue
        for paragraph in list_of(item, "paragraphs", dict, Place(file, number + 1)):
            number += 1
            place = Place(file, number)
            for question in list_of(paragraph, "qas", dict, place):
                yield place, title, text_of(paragraph, "context", place), question


def _dureader_answers(answers: Any, place: Place) -> list[str]:
    """Answers that are not empty, from any of the three shapes the files use."""
    if answers is None:
        return []
    if isinstance(answers, dict):
        return _filled(list_of(answers, "text", str, place))
    if not isinstance(answers, list):
        raise place.problem("answers", answers, "a list of answers")
    return _filled(
        answer
        if isinstance(answer, str)
        else text_of(struct_of({"answer": answer}, "answer", place), "text", place)
        for answer in answers
    )


def _filled(texts: Any) -> list[str]:
    """The texts that are not blank."""
    return [text for text in texts if normalize_text(text)]
