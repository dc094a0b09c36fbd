"""Demo corpora: read by the real formatters, reproducible, spread over buckets, with something to drop."""

import gzip
import json
from collections import Counter
from pathlib import Path

import pytest

from polyalign.corpora.catalogue import CORPORA
from polyalign.corpora.formatting import format_corpus
from polyalign.data.dedup import find_duplicates, rows_to_remove
from polyalign.demo import chinese_advice, english_advice, english_explanations, english_search
from polyalign.demo.grammar import LENGTH_LIMITS, Grammar, item_rng
from polyalign.demo.sources import SHARES, WRITERS, write_demo_source
from polyalign.errors import BadInput
from polyalign.files import sha256_file
from polyalign.records import SPLITS, count_tokens, length_bin, read_records

ENGLISH, CHINESE = (
    [name for name in WRITERS if CORPORA[name].language == language] for language in ("en", "zh")
)
ROWS, SEED = 300, 2
MIN_BUCKET = 20


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): sha256_file(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Folder of the raw and the formatted corpora."""
    return tmp_path_factory.mktemp("demo")


@pytest.fixture(scope="module")
def formatted(root):
    """{dataset: (what format_corpus counted, records)} of the demo configuration's size."""
    found = {}
    for dataset in WRITERS:
        write_demo_source(dataset, root / "raw" / dataset, ROWS, SEED)
        counted = format_corpus(dataset, root / "raw" / dataset, root / "formatted" / dataset)
        records = [
            record
            for split in SPLITS
            for record in read_records(root / "formatted" / dataset / f"{split}.parquet")
        ]
        found[dataset] = (counted, records)
    return found


def records_of(formatted, datasets, split=None):
    return [
        record
        for dataset in datasets
        for record in formatted[dataset][1]
        if split is None or record["split"] == split
    ]


@pytest.mark.parametrize("dataset", WRITERS)
def test_number_of_records_is_about_what_was_asked_for(formatted, dataset):
    expected = ROWS * SHARES[dataset]
    assert 0.75 * expected < len(formatted[dataset][1]) < 1.25 * expected + 10


@pytest.mark.parametrize("dataset", WRITERS)
def test_same_seed_same_bytes_and_another_seed_other_text(tmp_path, dataset):
    for name, seed in (("one", 1), ("again", 1), ("other", 2)):
        write_demo_source(dataset, tmp_path / name, 20, seed)
    assert digests(tmp_path / "one") == digests(tmp_path / "again")
    assert digests(tmp_path / "one") != digests(tmp_path / "other")


@pytest.mark.parametrize(("datasets", "buckets"), [(ENGLISH, 10), (CHINESE, 7)], ids=["en", "zh"])
def test_deduplicated_test_split_fills_every_bucket_but_xlong(formatted, root, datasets, buckets):
    files = {
        name: {split: root / "formatted" / name / f"{split}.parquet" for split in SPLITS} for name in datasets
    }
    removed, _ = find_duplicates(files)
    sizes: Counter[str] = Counter()
    for name in datasets:
        gone = rows_to_remove(removed, name).get("test", set())
        records = enumerate(records_of(formatted, (name,), "test"))
        sizes.update(record["bucket_id"] for row, record in records if row not in gone)
    filled = [bucket for bucket, size in sizes.items() if size >= MIN_BUCKET]
    assert len(filled) == buckets, sizes
    assert not any(bucket.endswith("xlong") for bucket in filled)


@pytest.mark.parametrize("datasets", [ENGLISH, CHINESE], ids=["en", "zh"])
def test_answers_are_mostly_short_enough_for_a_cpu(formatted, datasets):
    lengths = [count_tokens(record["human_answer"]) for record in records_of(formatted, datasets)]
    assert sum(length > 160 for length in lengths) < 0.03 * len(lengths)
    assert max(lengths) > 240, "some very long answer must exist"


@pytest.mark.parametrize(
    "dataset", ["dolly", "eli5_category", "natural_questions", "coig_cqia", "dailydialog", "oasst2_zh"]
)
def test_question_does_not_tell_the_length_of_its_answer(formatted, dataset):
    """Guessing the bin from the question's own length beats the most frequent bin by next to nothing."""
    records = formatted[dataset][1]
    most_frequent = Counter(record["length_bin"] for record in records).most_common(1)[0][1] / len(records)
    by_question: dict[int, Counter] = {}
    for record in records:
        length = min(count_tokens(record["question"]) // 4, 4)
        by_question.setdefault(length, Counter())[record["length_bin"]] += 1
    guessed = sum(bins.most_common(1)[0][1] for bins in by_question.values()) / len(records)
    assert guessed < most_frequent + 0.08


def test_bins_differ_in_style(formatted):
    advice = [
        record
        for record in formatted["dolly"][1]
        if not record["context"] and record["length_bin"] != "xlong"
    ]
    headed = {
        name: [record["human_answer"].startswith("## ") for record in advice if record["length_bin"] == name]
        for name in ("short", "medium", "long")
    }
    assert all(headed["long"])
    assert not any(headed["short"] + headed["medium"])


@pytest.mark.parametrize("dataset", ["squad_v2", "cmrc2018", "drcd"])
def test_search_answers_are_spans_of_their_context(formatted, dataset):
    for record in formatted[dataset][1]:
        assert record["human_answer"] in record["context"]


def test_explanations_have_a_register_of_their_own(formatted):
    records = formatted["eli5_category"][1]
    summed_up = {
        name: ["\n\nTL;DR: " in record["human_answer"] for record in records if record["length_bin"] == name]
        for name in ("medium", "long", "xlong")
    }
    assert all(summed_up["long"] + summed_up["xlong"])
    assert not any(summed_up["medium"])
    assert sum("asically" in record["human_answer"] for record in records) > 0.5 * len(records)
    assert {record["split"] for record in records} == set(SPLITS)


def test_best_explanation_is_told_from_ties_removed_and_worse_ones(formatted, root):
    kept = {record["meta"]["source_id"]: record for record in formatted["eli5_category"][1]}
    with gzip.open(root / "raw/eli5_category/eli5-category-train.json.gz", "rt", encoding="utf-8") as file:
        questions = [question for question in json.load(file) if question["q_id"] in kept]
    ties = removed = worse = 0
    for question in questions:
        texts, scores = question["answers"]["text"], question["answers"]["score"]
        best = texts.index(kept[question["q_id"]]["human_answer"])
        ties += scores[best] in scores[best + 1 :]
        removed += any(not text and score >= scores[best] for text, score in zip(texts, scores, strict=True))
        worse += best > 0 and bool(texts[0])
    assert min(ties, removed, worse) > 5


def test_found_passages_are_short_and_mostly_selected(formatted):
    records = formatted["ms_marco"][1]
    assert max(count_tokens(record["context"]) for record in records) < 120
    selected = Counter(record["meta"]["selected_passage_count"] for record in records)
    assert 0 < selected[0] < selected[1]
    well_formed = Counter(record["meta"]["used_well_formed_answer"] for record in records)
    assert 0 < well_formed[True] < well_formed[False]
    spans = sum(record["human_answer"] in record["context"] for record in records)
    assert 0.2 * len(records) < spans < 0.8 * len(records)


@pytest.mark.parametrize("dataset", ["ms_marco", "natural_questions"])
def test_queries_are_typed_not_asked(formatted, dataset):
    for record in formatted[dataset][1]:
        assert record["question"].islower()
        assert "?" not in record["question"]


def test_encyclopaedic_answers_are_plain_paragraphs(formatted):
    records = formatted["natural_questions"][1]
    assert {record["length_bin"] for record in records} == {"medium", "long"}
    assert not any("\n" in record["human_answer"] or record["context"] for record in records)


@pytest.mark.parametrize("dataset", ["ms_marco", "eli5_category", "natural_questions"])
def test_repeated_texts_have_ids_of_their_own(formatted, dataset):
    ids = [record["id"] for record in formatted[dataset][1]]
    assert len(set(ids)) == len(ids)


def test_unusable_rows_and_repetitions_are_there(formatted):
    assert formatted["squad_v2"][0]["empty_answers"] > 0
    for dataset, causes in (
        ("ms_marco", 1),
        ("eli5_category", 1),
        ("cmrc2018", 1),
        ("coig_cqia", 3),
        ("oasst2_zh", 4),
    ):
        assert len(formatted[dataset][0]["dropped"]) >= causes, dataset
    for dataset in WRITERS:
        texts = [
            (record["question"], record["context"], record["human_answer"])
            for record in formatted[dataset][1]
            if record["human_answer"]
        ]
        assert len(set(texts)) < len(texts), f"{dataset} has nothing to deduplicate"


def test_unknown_corpus_is_a_clear_error(tmp_path):
    with pytest.raises(BadInput, match="'hc3_chinese' has no demo version"):
        write_demo_source("hc3_chinese", tmp_path / "raw", 10, 1)
    assert not (tmp_path / "raw").exists()


def test_smallest_size_still_has_every_split(tmp_path):
    for dataset in WRITERS:
        write_demo_source(dataset, tmp_path / dataset, 1, 1)
        counts = format_corpus(dataset, tmp_path / dataset, tmp_path / "out" / dataset)["split_counts"]
        assert counts["train"] > 0
        if dataset not in ("dolly", "natural_questions", "coig_cqia"):
            assert counts["test"] > 0, dataset


@pytest.mark.parametrize("language", [english_advice, chinese_advice], ids=["en", "zh"])
@pytest.mark.parametrize("length", LENGTH_LIMITS)
def test_answers_land_in_the_bin_they_were_made_for(language, length):
    for index in range(40):
        grammar = language.hobby(item_rng(index, "bins", length))
        kind, _ = language.advice_question(grammar)
        answers = [language.advice_answer(grammar, kind, length)]
        if length != "xlong":
            answers.append(language.chat_answer(grammar, length))
        assert {length_bin(count_tokens(answer)) for answer in answers} == {length}


@pytest.mark.parametrize("length", LENGTH_LIMITS)
def test_web_answers_land_in_the_bin_they_were_made_for(length):
    for index in range(40):
        rng = item_rng(index, "bins", length)
        answers = [english_explanations.explain_answer(english_explanations.curious(rng), length)]
        if length in ("medium", "long"):
            answers.append(english_search.entry_paragraph(english_search.encyclopedia(rng), length))
        assert {length_bin(count_tokens(answer)) for answer in answers} == {length}


def test_grammar_draws_without_replacement_and_keeps_what_is_bound():
    grammar = Grammar(item_rng(0, "words"), {"fruit": ("apple", "pear", "plum"), "say": ("a {fruit}",)})
    assert {grammar.expand("{fruit}") for _ in range(3)} == {"apple", "pear", "plum"}
    bound = grammar.bind("fruit", "fruit")
    assert [grammar.sentence("say") for _ in range(4)] == [f"A {bound}"] * 4
