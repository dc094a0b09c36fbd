"""Long answers of people to people: ELI5-Category (English) and HC3 (Chinese). docs/method.md, Corpora."""

from collections.abc import Iterator

from polyalign.corpora.source import LOCAL_SPLIT, Draft, Place, Row, Source, list_of, struct_of, text_of
from polyalign.records import choose_split, normalize_text

_ELI5_FILES = {
    "train": ("eli5-category-train.json.gz", "train"),
    "validation1": ("eli5-category-validation-1.json.gz", "dev"),
    "validation2": ("eli5-category-validation-2.json.gz", "validation2"),
    "test": ("eli5-category-test.json.gz", "test"),
}


def read_eli5_category(source: Source) -> Iterator[Draft]:
    """Questions of ELI5-Category with their highest-scored answer; title and self-text make the question."""
    for official, (name, split) in _ELI5_FILES.items():
        for index, (place, row) in enumerate(source.gzipped_array(name)):
            answers = struct_of(row, "answers", place)
            texts = list_of(answers, "text", str, place)
            best = _best_answer(texts, list_of(answers, "score", int, place))
            if best is None:
                source.drop("no answer")
                continue
            answer, score = best
            record_id = f"eli5-{official}-{index:06d}"
            parts = [text_of(row, "title", place)]
            if row.get("selftext") is not None:
                parts.append(text_of(row, "selftext", place))
            yield Draft(
                split=split,
                id=record_id,
                question="\n\n".join(part for part in map(normalize_text, parts) if part),
                human_answer=answer,
                context="",
                history=[],
                meta={
                    "source_dataset": "rexarski/eli5_category",
                    "source_split": official,
                    "source_id": row.get("q_id") or record_id,
                    "subreddit": row.get("subreddit") or "",
                    "category": row.get("category") or "",
                    "num_candidate_answers": len(texts),
                    "best_answer_score": score,
                },
            )


def _best_answer(texts: list[str], scores: list[int]) -> tuple[str, int] | None:
    """The highest-scored answer that is not empty, with its score; the first one wins ties."""
    candidates = [(text, score) for text, score in zip(texts, scores, strict=False) if text]
    return max(candidates, key=lambda candidate: candidate[1], default=None)


def read_hc3_chinese(source: Source) -> Iterator[Draft]:
    """One record per human answer of all.jsonl; all answers to a question go to one split (90/5/5)."""
    for index, (place, row) in enumerate(source.jsonl(source.file("all.jsonl"))):
        question = text_of(row, "question", place)
        answers = [answer for answer in list_of(row, "human_answers", str, place) if normalize_text(answer)]
        if not question:
            source.drop("empty question")
            continue
        if not answers:
            source.drop("no human answer")
            continue
        yield from _hc3_drafts(source, index, question, answers, row, place)


def _hc3_drafts(
    source: Source, index: int, question: str, answers: list[str], row: Row, place: Place
) -> Iterator[Draft]:
    """A draft per answer to one question."""
    source_id = str(row["id"]) if row.get("id") is not None else str(index)
    subset = text_of(row, "source", place) if row.get("source") is not None else ""
    split = choose_split(f"{subset}::{source_id}", LOCAL_SPLIT, source.seed)
    model_answers = list_of(row, "chatgpt_answers", str, place)
    for number, answer in enumerate(answers):
        yield Draft(
            split=split,
            id=f"hc3-chinese-{subset or 'all'}-{source_id}-answer-{number:02d}",
            question=question,
            human_answer=answer,
            context="",
            history=[],
            meta={
                "source_dataset": "Hello-SimpleAI/HC3-Chinese",
                "source_config": "all",
                "source_split": "train",
                "source_id": source_id,
                "source_subset": subset,
                "human_answer_index": number,
                "num_human_answers": len(answers),
                "num_chatgpt_answers": len(model_answers),
            },
        )
