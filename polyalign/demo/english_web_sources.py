"""The English demo corpora of the web in their official raw layouts: ms_marco, eli5_category, natural_questions."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from polyalign.demo import english_explanations as explanations
from polyalign.demo import english_search as search
from polyalign.demo.grammar import Grammar, draw_length, item_rng
from polyalign.demo.layout import json_items, split_counts, spread, text_source, write_parquet
from polyalign.files import dump_json, open_text

EXPLANATION_LENGTHS = {"medium": 0.5, "long": 0.47, "xlong": 0.03}
ENTRY_LENGTHS = {"medium": 0.65, "long": 0.35}
UNANSWERED_EVERY = 20
"""One ms_marco query and one eli5_category question in so many has no answer."""
UNSELECTED_SHARE = 0.08
"""Share of ms_marco queries none of whose passages was selected."""
WELL_FORMED_SHARE = 0.2
"""Share of ms_marco queries whose answer was also written out as a sentence."""
SPAN_SHARE = 0.5
"""Share of ms_marco answers that are a mere span of the passage."""
TIE_SHARE = 0.2
"""Share of eli5_category questions with a second answer as good as the best."""
CATEGORIES = ("Other", "Culture", "Engineering", "Technology")

MS_MARCO_SCHEMA = pa.schema(
    [
        ("answers", pa.list_(pa.string())),
        (
            "passages",
            pa.struct(
                [
                    ("is_selected", pa.list_(pa.int32())),
                    ("passage_text", pa.list_(pa.string())),
                    ("url", pa.list_(pa.string())),
                ]
            ),
        ),
        ("query", pa.string()),
        ("query_id", pa.int32()),
        ("query_type", pa.string()),
        ("wellFormedAnswers", pa.list_(pa.string())),
    ]
)
NATURAL_QUESTIONS_SCHEMA = pa.schema([("query", pa.string()), ("answer", pa.string())])


def _ms_marco_row(seed: int, index: int, start: int) -> dict[str, Any]:
    source = text_source(index, start)
    rng = item_rng(seed, "ms_marco", source)
    grammar = search.place(rng)
    found, told, others = search.found_passages(grammar, rng.choice((1, 2, 2, 3)))
    query, kind, span, sentence = search.search_query(grammar, told)
    answers = [span if span and rng.random() < SPAN_SHARE else sentence]
    well_formed = [sentence] if rng.random() < WELL_FORMED_SHARE else []
    if source % UNANSWERED_EVERY == UNANSWERED_EVERY - 1:
        answers, well_formed = rng.choice(([], [""])), []
    # Where nothing is selected the reader takes the first three passages, so the one that answers is among them.
    position = rng.randint(0, min(len(others), 2))
    texts = [*others[:position], found, *others[position:]]
    selected = position if rng.random() >= UNSELECTED_SHARE else -1
    return {
        "answers": answers,
        "passages": {
            "is_selected": [int(number == selected) for number in range(len(texts))],
            "passage_text": texts,
            "url": [f"https://demo.invalid/{source}/{number}" for number in range(len(texts))],
        },
        "query": query,
        "query_id": index,
        "query_type": kind,
        "wellFormedAnswers": well_formed,
    }


def write_ms_marco(out_dir: Path, rows: int, seed: int) -> None:
    """train, validation and test tables of version 1.1."""
    counts = split_counts(rows, {"train": 0.66, "validation": 0.08, "test": 0.26})
    for split, start, count in spread(counts):
        items = (_ms_marco_row(seed, index, start) for index in range(start, start + count))
        write_parquet(out_dir / f"{split}-00000-of-00001.parquet", MS_MARCO_SCHEMA, items)


def _scored_answers(seed: int, source: int, grammar: Grammar) -> list[tuple[str, int]]:
    """(text, score) of every answer to one question, with the best one anywhere among them."""
    rng = item_rng(seed, "eli5_category", "answers", source)
    top = rng.randint(5, 90)
    best = (explanations.explain_answer(grammar, draw_length(rng, EXPLANATION_LENGTHS)), top)
    before = [
        (explanations.explain_answer(grammar, "short"), rng.randint(-2, top - 1))
        for _ in range(rng.choice((0, 0, 1, 2)))
    ]
    after = []
    if rng.random() < TIE_SHARE:
        after.append((explanations.explain_answer(grammar, "medium"), top))
    if rng.random() < 0.15:
        # A removed answer keeps its score but has lost its text.
        before.append(("", top + rng.randint(0, 9)))
    if source % UNANSWERED_EVERY == UNANSWERED_EVERY - 1:
        return [("", score) for _, score in before]
    return [*before, best, *after]


def _eli5_question(seed: int, index: int, start: int) -> dict[str, Any]:
    source = text_source(index, start)
    rng = item_rng(seed, "eli5_category", source)
    grammar = explanations.curious(rng)
    title, selftext = explanations.explain_question(grammar)
    answers = _scored_answers(seed, source, grammar)
    return {
        "q_id": f"demo{index:06x}",
        "category": rng.choice(CATEGORIES),
        "title": title,
        "title_urls": {"url": []},
        "selftext": selftext,
        "selftext_urls": {"url": []},
        "subreddit": "explainlikeimfive",
        "answers": {
            "a_id": [f"demo{index:06x}{number}" for number in range(len(answers))],
            "text": [text for text, _ in answers],
            "text_urls": [[] for _ in answers],
            "score": [score for _, score in answers],
        },
    }


def write_eli5(out_dir: Path, rows: int, seed: int) -> None:
    """eli5-category-{train,validation-1,validation-2,test}.json.gz, each one array of questions."""
    counts = split_counts(rows, {"train": 0.61, "validation-1": 0.06, "validation-2": 0.05, "test": 0.28})
    for split, start, count in spread(counts):
        items = (dump_json(_eli5_question(seed, index, start)) for index in range(start, start + count))
        with open_text(out_dir / f"eli5-category-{split}.json.gz", "w") as file:
            file.writelines(json_items(items, "[]"))


def _natural_questions_rows(seed: int, rows: int) -> Iterator[dict[str, str]]:
    for index in range(rows):
        rng = item_rng(seed, "natural_questions", text_source(index))
        grammar = search.encyclopedia(rng)
        length = draw_length(rng, ENTRY_LENGTHS)
        query = search.entry_query(grammar)
        yield {"query": query, "answer": search.entry_paragraph(grammar, length)}


def write_natural_questions(out_dir: Path, rows: int, seed: int) -> None:
    """One train table of queries and answers; its splits are made by the formatter."""
    items = _natural_questions_rows(seed, rows)
    write_parquet(out_dir / "train-00000-of-00001.parquet", NATURAL_QUESTIONS_SCHEMA, items)
