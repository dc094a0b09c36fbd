"""Instruction corpora: Dolly (English) and COIG-CQIA (Chinese). docs/method.md, Corpora."""

from collections.abc import Iterator

from polyalign.corpora.source import LOCAL_SPLIT, Draft, Place, Row, Source, text_of
from polyalign.records import choose_split

COIG_SUBSETS = (
    "chinese_traditional",
    "coig_pc",
    "douban",
    "exam",
    "finance",
    "human_value",
    "logi_qa",
    "ruozhiba",
    "segmentfault",
    "wiki",
    "wikihow",
    "xhs",
    "zhihu",
)
"""The 13 subsets of COIG-CQIA, in the order in which their records follow each other."""


def read_dolly(source: Source) -> Iterator[Draft]:
    """Rows of databricks-dolly-15k.jsonl, split 90/5/5 on instruction, response and category."""
    rows = source.jsonl(source.file("databricks-dolly-15k.jsonl"))
    for index, (place, row) in enumerate(rows):
        instruction = text_of(row, "instruction", place)
        response = text_of(row, "response", place)
        category = text_of(row, "category", place)
        record_id = f"dolly-train-{index:06d}"
        yield Draft(
            split=choose_split(f"{instruction}::{response}::{category}", LOCAL_SPLIT, source.seed),
            id=record_id,
            question=instruction,
            human_answer=response,
            context=text_of(row, "context", place),
            history=[],
            meta={
                "source_dataset": "databricks/databricks-dolly-15k",
                "source_split": "train",
                "source_id": record_id,
                "category": category,
            },
        )


def read_coig_cqia(source: Source) -> Iterator[Draft]:
    """Human, verified rows of the COIG-CQIA subsets that are there, split 90/5/5 on subset and texts.

    The row number in an id runs over all rows of a subset, its files in name order, dropped rows included.
    """
    present = [subset for subset in COIG_SUBSETS if any((source.folder / subset).rglob("*.jsonl"))]
    if not present:
        raise source.missing(f"{COIG_SUBSETS[0]}/*.jsonl")
    for subset in present:
        index = -1
        for path in source.files(f"{subset}/**/*.jsonl"):
            for place, row in source.jsonl(path):
                index += 1
                draft = _coig_draft(source, subset, f"coig-cqia-{subset}-{index:06d}", row, place)
                if draft is not None:
                    yield draft


def _is_true(value: object) -> bool:
    """True for true, 1 and the word true in any case: the subsets were written by different hands."""
    return value.strip().lower() == "true" if isinstance(value, str) else value in (True, 1)


def _coig_draft(source: Source, subset: str, record_id: str, row: Row, place: Place) -> Draft | None:
    """The draft of one row, or None (counted) where it is not a verified human answer."""
    instruction = text_of(row, "instruction", place)
    output = text_of(row, "output", place)
    answer_from = row.get("answer_from", "")
    if answer_from and str(answer_from).strip().lower() != "human":
        source.drop("answer not by a human")
        return None
    if "human_verified" in row and not _is_true(row["human_verified"]):
        source.drop("answer not verified by a human")
        return None
    if not output:
        source.drop("empty answer")
        return None
    return Draft(
        split=choose_split(f"{subset}::{instruction}::{output}", LOCAL_SPLIT, source.seed),
        id=record_id,
        question=instruction,
        human_answer=output,
        context="" if "input" in row and row["input"] is None else text_of(row, "input", place),
        history=[],
        meta={
            "source_dataset": "m-a-p/COIG-CQIA",
            "source_subset": subset,
            "source_split": "train",
            "source_id": record_id,
            "task_type": row.get("task_type"),
            "domain": row.get("domain"),
            "metadata": row.get("metadata"),
            "answer_from": answer_from,
            "human_verified": _is_true(row.get("human_verified", False)),
            "copyright": row.get("copyright"),
        },
    )
