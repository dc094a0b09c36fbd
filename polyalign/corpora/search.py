"""Questions of search engines: MS MARCO and Natural Questions. docs/method.md, Corpora."""

from collections.abc import Iterator

from polyalign.corpora.source import LOCAL_SPLIT, Draft, Place, Row, Source, list_of, struct_of
from polyalign.records import choose_split, normalize_text

_MS_MARCO_SPLITS = {"train": "train", "validation": "dev", "test": "test"}
_FALLBACK_PASSAGES = 3


def read_ms_marco(source: Source) -> Iterator[Draft]:
    """Rows of MS MARCO v1.1: a well-formed answer where there is one, selected passages as context."""
    columns = {
        "query": "text",
        "query_id": "any",
        "query_type": "text?",
        "answers": "list",
        "wellFormedAnswers": "list",
        "passages": ("is_selected", "passage_text"),
    }
    for official, split in _MS_MARCO_SPLITS.items():
        for place, row in source.table(official, columns):
            well_formed = next(filter(None, list_of(row, "wellFormedAnswers", str, place)), "")
            answer = well_formed or next(filter(None, list_of(row, "answers", str, place)), "")
            if not answer:
                source.drop("no answer")
                continue
            context, selected, count = _passages(struct_of(row, "passages", place), place)
            record_id = f"ms-marco-{official}-{row['query_id']}"
            yield Draft(
                split=split,
                id=record_id,
                question=row["query"],
                human_answer=answer,
                context=context,
                history=[],
                meta={
                    "source_dataset": "microsoft/ms_marco",
                    "source_config": "v1.1",
                    "source_split": official,
                    "source_id": record_id,
                    "query_id": row["query_id"],
                    "query_type": row["query_type"],
                    "used_well_formed_answer": bool(well_formed),
                    "selected_passage_count": selected,
                    "passage_count": count,
                },
            )


def _passages(passages: Row, place: Place) -> tuple[str, int, int]:
    """(context, number selected, number of passages): the selected passages, else the first three."""
    texts = list_of(passages, "passage_text", str, place)
    flags = list_of(passages, "is_selected", int, place)
    selected = [text for text, flag in zip(texts, flags, strict=False) if flag]
    chosen = selected or texts[:_FALLBACK_PASSAGES]
    context = "\n\n".join(text for text in map(normalize_text, chosen) if text)
    return context, len(selected), len(texts)


def read_natural_questions(source: Source) -> Iterator[Draft]:
    """Query and answer pairs of the sentence-transformers release, split 90/5/5 on both."""
    rows = source.table("train", {"query": "text", "answer": "text"})
    for index, (_, row) in enumerate(rows):
        record_id = f"natural-questions-train-{index:06d}"
        yield Draft(
            split=choose_split(f"{row['query']}::{row['answer']}", LOCAL_SPLIT, source.seed),
            id=record_id,
            question=row["query"],
            human_answer=row["answer"],
            context="",
            history=[],
            meta={
                "source_dataset": "sentence-transformers/natural-questions",
                "source_split": "train",
                "source_id": record_id,
                "source_variant": "sentence-transformers",
            },
        )
