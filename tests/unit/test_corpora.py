"""Corpus readers: what they keep, what they count as dropped, and how they refuse broken files."""

import gzip
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from polyalign.corpora import source as source_module
from polyalign.corpora.catalogue import CORPORA
from polyalign.corpora.conversations import split_utterances
from polyalign.corpora.formatting import format_corpus
from polyalign.corpora.source import Source
from polyalign.errors import BadInput
from polyalign.files import read_jsonl
from polyalign.records import SPLITS, read_records

DOLLY = {"instruction": "Name a colour.", "context": "", "response": "Red.", "category": "open_qa"}


def write_lines(path: Path, *rows: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [row if isinstance(row, str) else json.dumps(row, ensure_ascii=False) for row in rows]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_shards(folder: Path, split: str, *shards: list[dict]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number, rows in enumerate(shards):
        table = pa.Table.from_pylist(rows)
        pq.write_table(table, folder / f"{split}-{number:05d}-of-{len(shards):05d}.parquet")


def write_zip(path: Path, members: dict[str, str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in members.items():
            archive.writestr(name, text)


def formatted(dataset: str, source: Path, out: Path, **options: Any) -> tuple[dict, dict[str, list[dict]]]:
    """(counts, {split: records}) of a corpus formatted to JSONL."""
    counts = format_corpus(dataset, source, out, suffix=".jsonl", **options)
    return counts, {path.stem: [row for _, row in read_jsonl(path)] for path in out.glob("*.jsonl")}


def squad_row(number: int, answers: list[str]) -> dict:
    return {
        "id": str(number),
        "title": "T",
        "context": f"Text {number}.",
        "question": f"What is {number}?",
        "answers": {"text": answers, "answer_start": [0] * len(answers)},
    }


def test_every_split_has_a_parquet_file_and_jsonl_only_what_there_is(tmp_path: Path) -> None:
    write_lines(tmp_path / "raw" / "databricks-dolly-15k.jsonl", DOLLY)
    format_corpus("dolly", tmp_path / "raw", tmp_path / "table")
    assert sorted(path.stem for path in (tmp_path / "table").iterdir()) == sorted(SPLITS)
    assert sum(len(list(read_records(path))) for path in (tmp_path / "table").iterdir()) == 1
    formatted("dolly", tmp_path / "raw", tmp_path / "lines")
    assert sorted(path.name for path in (tmp_path / "lines").iterdir()) == [
        "dev.jsonl",
        "test.jsonl",
        "train.jsonl",
    ]


def test_seed_and_token_rule_reach_the_records(tmp_path: Path) -> None:
    rows = [{**DOLLY, "response": f"it's {'word ' * 39}number{n}"} for n in range(60)]
    write_lines(tmp_path / "raw" / "databricks-dolly-15k.jsonl", *rows)
    counts, records = formatted("dolly", tmp_path / "raw", tmp_path / "a")
    other, _ = formatted("dolly", tmp_path / "raw", tmp_path / "b", seed=7)
    assert counts["split_counts"] != other["split_counts"]
    # `it's` is one token or three, `number0` two tokens or one: 42 or 43.
    assert records["train"][0]["meta"]["length_tokens"] == 42
    _, published = formatted("dolly", tmp_path / "raw", tmp_path / "c", token_rule="published")
    assert published["train"][0]["meta"]["length_tokens"] == 43


@pytest.mark.parametrize(
    "row, parts",
    [
        ({**DOLLY, "response": None}, ["row 2", "'response'", "a string"]),
        ({**DOLLY, "instruction": 3}, ["row 2", "'instruction'", "int 3"]),
        ({"instruction": "x"}, ["row 2", "'response'", "missing"]),
        ("{broken", ["row 2", "not valid JSON"]),
        ("[1]", ["row 2", "an object"]),
    ],
)
def test_malformed_row_is_named_and_nothing_is_written(tmp_path: Path, row: Any, parts: list[str]) -> None:
    write_lines(tmp_path / "raw" / "databricks-dolly-15k.jsonl", DOLLY, row)
    with pytest.raises(BadInput) as error:
        format_corpus("dolly", tmp_path / "raw", tmp_path / "out")
    for part in ["databricks-dolly-15k.jsonl", *parts]:
        assert part in str(error.value)
    assert not list((tmp_path / "out").glob("*"))


def test_unknown_corpus_suffix_and_folder(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"unknown corpus 'doly'.*dolly"):
        format_corpus("doly", tmp_path, tmp_path)
    with pytest.raises(BadInput, match="unknown suffix"):
        format_corpus("dolly", tmp_path, tmp_path, suffix=".csv")
    with pytest.raises(BadInput, match="no folder with the raw files of dolly"):
        format_corpus("dolly", tmp_path / "nowhere", tmp_path)


@pytest.mark.parametrize("dataset", CORPORA)
def test_missing_raw_file_is_named(tmp_path: Path, dataset: str) -> None:
    (tmp_path / "raw").mkdir()
    with pytest.raises(BadInput) as error:
        format_corpus(dataset, tmp_path / "raw", tmp_path / "out")
    assert f"raw file of {dataset} is missing" in str(error.value)
    assert "config/sources.yaml" in str(error.value)


def test_shards_are_read_in_order_and_must_be_complete(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    write_shards(raw, "train", [squad_row(1, ["a"]), squad_row(2, [])], [squad_row(3, ["c"])])
    write_shards(raw, "validation", [squad_row(4, ["d"])])
    counts, records = formatted("squad_v2", raw, tmp_path / "out")
    assert [
        row["meta"]["source_id"] for row in sorted(records["train"] + records["dev"], key=lambda r: r["id"])
    ] == [
        "1",
        "2",
        "3",
    ]
    assert counts["empty_answers"] == 1
    (raw / "train-00001-of-00002.parquet").unlink()
    with pytest.raises(BadInput, match=r"train-00001-of-00002\.parquet.*missing"):
        formatted("squad_v2", raw, tmp_path / "again")


def test_shards_of_two_revisions_are_refused(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    write_shards(raw, "train", [squad_row(1, ["a"])])
    (raw / "train-00000-of-00001.parquet").rename(raw / "train-00000-of-00001-0abc.parquet")
    write_shards(raw, "train", [squad_row(1, ["a"])])
    with pytest.raises(BadInput, match="2 shards of split train"):
        formatted("squad_v2", raw, tmp_path / "out")


def test_null_missing_and_mistyped_columns(tmp_path: Path) -> None:
    for name, rows, expected in [
        ("null", [squad_row(1, []), {**squad_row(2, []), "question": None}], "row 2, field 'question'"),
        (
            "missing",
            [{"id": "1", "context": "c", "answers": {"text": [""]}, "title": "t"}],
            "field 'question'",
        ),
        ("type", [{**squad_row(1, []), "context": 5}], "field 'context'.*int64.*text"),
        ("answers", [{**squad_row(1, []), "answers": {"text": [3]}}], "row 1, field 'text'.*list of str"),
    ]:
        write_shards(tmp_path / name, "train", rows)
        write_shards(tmp_path / name, "validation", [squad_row(1, [])])
        with pytest.raises(BadInput, match=expected):
            formatted("squad_v2", tmp_path / name, tmp_path / "out")


def test_broken_parquet_zip_and_gzip(tmp_path: Path) -> None:
    (tmp_path / "train-00000-of-00001.parquet").write_bytes(b"PAR1 not really")
    with pytest.raises(BadInput, match="not a readable Parquet file"):
        formatted("natural_questions", tmp_path, tmp_path / "out")
    (tmp_path / "train.zip").write_bytes(b"PK not really")
    with pytest.raises(BadInput, match=r"train\.zip.*broken zip"):
        formatted("dailydialog", tmp_path, tmp_path / "out")
    packed = gzip.compress(json.dumps([{"title": "t" * 50_000}]).encode())
    (tmp_path / "eli5-category-train.json.gz").write_bytes(packed[: len(packed) // 2])
    with pytest.raises(BadInput, match=r"train\.json\.gz.*broken gzip"):
        formatted("eli5_category", tmp_path, tmp_path / "out")


def dialogue_zip(path: Path, split: str, lines: str, acts: str, emotions: str, prefix: str = "") -> None:
    members = {"dialogues": lines, "dialogues_act": acts, "dialogues_emotion": emotions}
    write_zip(path, {f"{prefix}{name}_{split}.txt": text for name, text in members.items()})


def test_zip_members_outside_the_archive_are_refused(tmp_path: Path) -> None:
    for prefix in ("../", "/", "a/../../", "C:\\"):
        dialogue_zip(tmp_path / "train.zip", "train", "a __eou__ b __eou__\n", "1 1\n", "0 0\n", prefix)
        with pytest.raises(BadInput, match="points outside the archive"):
            formatted("dailydialog", tmp_path, tmp_path / "out")
    assert not (tmp_path.parent / "dialogues_train.txt").exists()


def test_zip_member_missing_and_labels_missing(tmp_path: Path) -> None:
    write_zip(tmp_path / "train.zip", {"dialogues_train.txt": "a __eou__ b __eou__\n"})
    with pytest.raises(BadInput, match=r"0 members named dialogues_act_train\.txt"):
        formatted("dailydialog", tmp_path, tmp_path / "out")
    dialogue_zip(
        tmp_path / "train.zip", "train", "a __eou__ b __eou__\na __eou__ b __eou__\n", "1 1\n", "0 0\n0 0\n"
    )
    with pytest.raises(BadInput, match=r"row 2: no labels for the dialogue"):
        formatted("dailydialog", tmp_path, tmp_path / "out")


@pytest.mark.parametrize(
    "line, right, published",
    [
        ("hello __eou__ oh , you__eou__", ["hello", "oh , you"], ["hello", "oh , y"]),
        ("over there ? __eou__ yes__eou__", ["over there ?", "yes"], ["ver there ?", "yes"]),
        (" a . __eou__  __eou__ b . __eou__", ["a .", "b ."], ["a .", "b ."]),
        ("__eou__", [], []),
    ],
)
def test_utterance_marks(line: str, right: list[str], published: list[str]) -> None:
    assert split_utterances(line) == right
    assert split_utterances(line, quirks=True) == published


def test_dailydialog_rows_without_answer_are_counted(tmp_path: Path) -> None:
    for split in ("train", "validation", "test"):
        dialogue_zip(
            tmp_path / f"{split}.zip",
            split,
            "a __eou__ b __eou__ c __eou__\nalone __eou__\n",
            "1 2\n1\n",
            "0\n0\n",
        )
    counts, records = formatted("dailydialog", tmp_path, tmp_path / "out")
    assert counts["dropped"] == {"no answer": 3}
    (record,) = records["test"]
    assert record["dialogue_history"] == [{"role": "user", "text": "a"}]
    assert (record["meta"]["target_act"], record["meta"]["target_emotion"]) == (2, None)


@pytest.mark.parametrize("block", [1, 7, 64, 1 << 18])
def test_gzipped_array_is_streamed_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr(source_module, "_BLOCK", block)
    rows = [{"n": n, "text": '][},{"\\ué中' * n} for n in range(30)]
    for indent in (None, 1):
        with gzip.open(tmp_path / "a.json.gz", "wt", encoding="utf-8") as handle:
            json.dump(rows, handle, indent=indent)
        items = list(Source(tmp_path, "eli5_category").gzipped_array("a.json.gz"))
        assert [row for _, row in items] == rows
        assert items[-1][0].row == 30


@pytest.mark.parametrize(
    "text, problem",
    [
        ('[{"a": 1}, {"b"', "not valid JSON"),
        ('{"a": 1}', "not a JSON array"),
        ("[1]", "an object"),
        ('[{"a": NaN}]', "NaN is not JSON"),
        ('[{"a": "\\ud800"}]', "surrogate"),
        ("", "not a JSON array"),
    ],
)
def test_gzipped_array_that_is_none(tmp_path: Path, text: str, problem: str) -> None:
    (tmp_path / "a.json.gz").write_bytes(gzip.compress(text.encode()))
    with pytest.raises(BadInput, match=problem):
        list(Source(tmp_path, "eli5_category").gzipped_array("a.json.gz"))


def test_coig_counts_dropped_rows_and_numbers_over_them(tmp_path: Path) -> None:
    row = {"instruction": "问", "input": "", "output": "答", "answer_from": "human", "human_verified": True}
    bad = [{**row, "answer_from": "llm"}, {**row, "human_verified": "False"}, {**row, "output": ""}]
    write_lines(tmp_path / "zhihu" / "b.jsonl", row)
    write_lines(tmp_path / "zhihu" / "a.jsonl", *bad, {**row, "answer_from": None, "human_verified": 1})
    write_lines(tmp_path / "unknown" / "a.jsonl", row)
    counts, records = formatted("coig_cqia", tmp_path, tmp_path / "out")
    rows = sorted((r for split in records.values() for r in split), key=lambda r: r["id"])
    assert [r["id"] for r in rows] == ["coig-cqia-zhihu-000003", "coig-cqia-zhihu-000004"]
    assert rows[0]["meta"]["human_verified"] is True
    assert counts["dropped"] == {
        "answer not by a human": 1,
        "answer not verified by a human": 1,
        "empty answer": 1,
    }


def message(identifier: str, parent: str | None, role: str, **changes: Any) -> dict:
    row = {
        "message_id": identifier,
        "parent_id": parent,
        "message_tree_id": "t",
        "text": f"文{identifier}",
        "role": role,
        "lang": "zh",
        "tree_state": "ready_for_export",
        "deleted": False,
        "review_result": True,
        "rank": 0,
        "created_date": None,
        "review_count": 3,
    }
    return {**row, **changes}


def test_oasst_keeps_whole_branches_only(tmp_path: Path) -> None:
    rows = [
        message("p", None, "prompter"),
        message("a", "p", "assistant"),
        message("q", "a", "prompter"),
        message("b", "q", "assistant"),
        message("x", "p", "assistant", deleted=True),
        message("y", "x", "prompter"),
        message("z", "y", "assistant"),
        message("n", "a", "assistant"),
        message("c1", "c2", "prompter"),
        message("c2", "c1", "assistant"),
    ]
    write_shards(tmp_path, "train", rows)
    write_shards(tmp_path, "validation", rows[:2])
    counts, records = formatted("oasst2_zh", tmp_path, tmp_path / "out")
    kept = {r["meta"]["source_id"]: r for r in records["train"] + records["dev"]}
    assert set(kept) == {"a", "b"}
    assert [turn["text"] for turn in kept["b"]["dialogue_history"]] == ["文p", "文a"]
    assert kept["b"]["question"] == "文q"
    assert counts["dropped"] == {"ancestor left out": 2, "answers no prompt": 1, "deleted": 1}


def test_a_message_that_stands_twice_is_named(tmp_path: Path) -> None:
    write_shards(tmp_path, "train", [message("p", None, "prompter"), message("p", None, "prompter")])
    with pytest.raises(BadInput, match=r"row 2, id p, field 'message_id': this message stands here a second"):
        formatted("oasst2_zh", tmp_path, tmp_path / "out")


def test_a_tree_of_great_depth_needs_no_recursion(tmp_path: Path) -> None:
    rows = [message("0", None, "prompter")]
    rows += [message(str(n), str(n - 1), "assistant" if n % 2 else "prompter") for n in range(1, 1500)]
    write_shards(tmp_path, "train", rows[::-1])
    write_shards(tmp_path, "validation", rows[:1])
    _, records = formatted("oasst2_zh", tmp_path, tmp_path / "out")
    deepest = max(records["train"] + records["dev"], key=lambda r: r["meta"]["num_history_turns"])
    assert deepest["meta"]["num_history_turns"] == 1498


def test_dureader_shapes_and_impossible_questions(tmp_path: Path) -> None:
    question = {"id": "1", "question": "问", "answers": [{"text": ""}, {"text": "答"}], "is_impossible": True}
    article = {"data": [{"title": "题", "paragraphs": [{"context": "文", "qas": [question]}]}]}
    flat = [
        {"id": "2", "context": "文", "question": "问", "answers": {"text": ["答"]}},
        {**question, "context": "文"},
        3,
    ]
    for subset, train in (("checklist", flat), ("robust", article)):
        members = {
            "train.json": json.dumps(train),
            "dev.json": json.dumps({"data": []}),
            "test.json": "broken",
        }
        write_zip(tmp_path / f"dummy/{subset}/1.0.0/dummy_data.zip", members)
    counts, records = formatted("dureader", tmp_path, tmp_path / "out")
    assert [r["id"] for r in records["train"]] == ["dureader-checklist-train-2", "dureader-robust-train-1"]
    assert records["train"][1]["meta"]["title"] == "题"
    assert counts["dropped"] == {"impossible question": 1, "row is not an object": 1}
    assert set(records) == {"train", "dev"}


def test_multiwoz_turns(tmp_path: Path) -> None:
    turns = [
        {"turn_id": "0", "speaker": "SYSTEM", "utterance": "Welcome."},
        {"turn_id": "1", "speaker": "USER", "utterance": "A room"},
        {"turn_id": "2", "speaker": "SYSTEM", "utterance": "Which?"},
    ]
    for folder in ("train", "dev", "test"):
        write_lines(
            tmp_path / folder / "dialogues_001.json",
            [{"dialogue_id": "A.json", "services": [], "turns": turns}],
        )
    write_lines(tmp_path / "dialog_acts.json", {"A.json": {"2": {"dialog_act": {"Hotel-Request": []}}}})
    counts, records = formatted("multiwoz", tmp_path, tmp_path / "out")
    assert counts["dropped"] == {"system turn before any user turn": 3}
    (record,) = records["dev"]
    assert record["id"] == "multiwoz-validation-A.json-turn-002"
    assert record["meta"]["dialogue_act_types"] == ["Hotel-Request"]
    assert [turn["role"] for turn in record["dialogue_history"]] == ["assistant", "user"]
    broken = [{"dialogue_id": "A.json", "turns": [{**turns[1], "speaker": "BOTH"}]}]
    write_lines(tmp_path / "dev" / "dialogues_001.json", broken)
    with pytest.raises(BadInput, match=r"dev/dialogues_001\.json, row 1, field 'speaker'"):
        formatted("multiwoz", tmp_path, tmp_path / "again")


def test_zip_is_read_in_memory(tmp_path: Path) -> None:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("x/wanted.txt", "text")
        archive.writestr("x/", "")
    (tmp_path / "a.zip").write_bytes(content.getvalue())
    members = Source(tmp_path, "dailydialog").zip_members("a.zip", {"key": "wanted.txt"})
    assert members == {"key": (f"{tmp_path / 'a.zip'}!x/wanted.txt", b"text")}
    assert [path.name for path in tmp_path.iterdir()] == ["a.zip"]
