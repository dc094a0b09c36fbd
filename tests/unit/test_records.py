"""The record: text rules at their edges, and files of records that are whole, right or refused by name."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from polyalign.errors import BadInput
from polyalign.files import read_table, write_jsonl, write_table
from polyalign.records import (
    BATCH_ROWS,
    RECORD_FIELDS,
    RECORD_SCHEMA,
    RecordWriter,
    bucket_id,
    choose_split,
    count_tokens,
    length_bin,
    make_record,
    normalize_text,
    read_record_batches,
    read_records,
    records_to_table,
    table_to_records,
)


def record(number: int = 0, **changes: Any) -> dict[str, Any]:
    made = make_record(
        id=f"dolly-{number}",
        dataset="dolly",
        split="train",
        language="en",
        track="single",
        family="assistant",
        style_bucket="assistant_like",
        question="What is it?",
        context="",
        dialogue_history=[("user", "Hi"), ("assistant", "Hello")],
        human_answer=f"It is number {number}.",
        meta={"source_id": str(number), "score": 0.5, "nested": {"a": [1, None]}},
    )
    return {**made, **changes}


def write_records(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    with RecordWriter(path) as writer:
        for row in rows:
            writer.write(row)


class TestText:
    def test_every_kind_of_space_is_collapsed_whatever_else_the_line_holds(self):
        """Lines without anything to collapse take a short cut; no whitespace of Unicode may slip through it."""
        spaces = [chr(code) for code in range(0x110000) if chr(code).isspace() and chr(code) not in "\r\n"]
        assert len(spaces) > 20
        for space in spaces:
            for text in (f"a b{space}c", f"a{space}", f"{space}a", f"a {space}b", f"é{space}{space}b"):
                assert normalize_text(text) == " ".join(text.split()), repr(text)

    @pytest.mark.parametrize(
        "text, expected",
        [
            (None, ""),
            (" \t\r\n ", ""),
            ("a\r\nb\rc", "a\nb\nc"),
            ("a  \t b\u3000c\u00a0d", "a b c d"),
            ("a\n\n \n\t\n\nb", "a\n\nb"),
            ("\n\n  a  \n", "a"),
        ],
    )
    def test_normalize_text(self, text: str | None, expected: str):
        assert normalize_text(text) == expected

    def test_normalizing_twice_changes_nothing(self):
        text = " a \r\n\r\n\r\n b\u2028c \x0b\x0c d\n \n "
        assert normalize_text(normalize_text(text)) == normalize_text(text)

    @pytest.mark.parametrize(
        "text, neutral, published",
        [
            ("It's 3.5%, isn't it?", 9, 13),
            ("今天天气很好。", 7, 2),
            ("GPT4模型", 4, 1),
            ("naïve", 2, 1),
            ("a_b", 2, 1),
            ("", 0, 0),
        ],
    )
    def test_token_rules_differ_where_they_should(self, text: str, neutral: int, published: int):
        assert count_tokens(text) == neutral
        assert count_tokens(text, "published") == published

    def test_an_unknown_token_rule_is_no_default(self):
        with pytest.raises(KeyError):
            count_tokens("a", "words")

    @pytest.mark.parametrize(
        "tokens, expected",
        [
            (0, "short"),
            (40, "short"),
            (41, "medium"),
            (120, "medium"),
            (121, "long"),
            (240, "long"),
            (241, "xlong"),
        ],
    )
    def test_bins_close_on_the_right(self, tokens: int, expected: str):
        assert length_bin(tokens) == expected

    def test_bucket_id(self):
        assert bucket_id("zh", "multi", "dialogue", "xlong") == "zh|multi|dialogue|xlong"


class TestSplit:
    def test_same_key_and_seed_same_split(self):
        weights = [("train", 0.9), ("dev", 0.05), ("test", 0.05)]
        chosen = [choose_split(f"key {number}", weights) for number in range(4000)]
        assert chosen == [choose_split(f"key {number}", weights, seed=42) for number in range(4000)]
        assert chosen != [choose_split(f"key {number}", weights, seed=43) for number in range(4000)]
        # 4000 draws: five standard deviations are 95 of train's 3600.
        assert abs(chosen.count("train") - 3600) < 95

    def test_weights_that_do_not_reach_one_give_the_rest_to_the_last(self):
        chosen = {choose_split(str(number), [("train", 0.0), ("dev", 0.0)]) for number in range(50)}
        assert chosen == {"dev"}


class TestMakeRecord:
    def test_texts_are_normalized_before_they_are_counted(self):
        made = make_record(
            id="1",
            dataset="oasst2_zh",
            split="dev",
            language="zh",
            track="multi",
            family="dialogue",
            style_bucket="open_chat",
            question=" 你好 \r\n",
            dialogue_history=[("user", " 在吗 ")],
            human_answer="好" * 41 + "  \n\n\n",
            meta={"source_id": "1"},
        )
        assert made["question"] == "你好"
        assert made["dialogue_history"] == [{"role": "user", "text": "在吗"}]
        assert made["human_answer"] == "好" * 41
        assert made["length_bin"] == "medium"
        assert made["bucket_id"] == "zh|multi|dialogue|medium"
        assert made["meta"] == {"source_id": "1", "length_tokens": 41}

    def test_keys_stand_in_the_published_order(self):
        assert tuple(record()) == RECORD_FIELDS

    def test_the_rule_named_decides_bin_and_bucket(self):
        texts = {"question": "?", "human_answer": "好" * 50, "meta": {}}
        names = {"id": "1", "dataset": "drcd", "split": "dev", "style_bucket": "qa_search"}
        kind = {"language": "zh", "track": "single", "family": "qa"}
        made = make_record(**names, **kind, **texts, token_rule="published")
        assert (made["length_bin"], made["bucket_id"]) == ("short", "zh|single|qa|short")
        assert made["meta"]["length_tokens"] == 1


@pytest.mark.parametrize("name", ["a.parquet", "a.jsonl", "a.jsonl.gz"])
class TestRoundTrip:
    def test_records_come_back_as_they_were(self, tmp_path: Path, name: str):
        rows = [record(0), record(1, dialogue_history=[], human_answer="", meta={"中": "文"})]
        with RecordWriter(tmp_path / name) as writer:
            for row in rows:
                writer.write(row)
        assert writer.rows == 2
        assert list(read_records(tmp_path / name)) == rows
        assert os.listdir(tmp_path) == [name]

    def test_more_than_a_batch_keeps_its_order(self, tmp_path: Path, name: str):
        with RecordWriter(tmp_path / name) as writer:
            for number in range(BATCH_ROWS + 3):
                writer.write(record(number))
        found = [row["id"] for row in read_records(tmp_path / name)]
        assert found == [f"dolly-{number}" for number in range(BATCH_ROWS + 3)]

    def test_no_records_make_a_readable_file(self, tmp_path: Path, name: str):
        with RecordWriter(tmp_path / name):
            pass
        assert list(read_records(tmp_path / name)) == []

    @pytest.mark.parametrize("before", [0, BATCH_ROWS])
    def test_a_record_that_cannot_be_written_leaves_nothing(self, tmp_path: Path, name: str, before: int):
        rows = [*(record(number) for number in range(before)), record(meta={"score": float("nan")})]
        with pytest.raises(ValueError, match="JSON compliant"):
            write_records(tmp_path / name, rows)
        assert os.listdir(tmp_path) == []

    def test_a_source_that_fails_leaves_the_old_file(self, tmp_path: Path, name: str):
        (tmp_path / name).write_text("old")

        def broken_source():
            yield record()
            raise BadInput("broken source")

        with pytest.raises(BadInput, match="broken source"):
            write_records(tmp_path / name, broken_source())
        assert (tmp_path / name).read_text() == "old"
        assert os.listdir(tmp_path) == [name]

    @pytest.mark.parametrize(
        "changes, problem",
        [
            ({"length_bin": "huge"}, "field 'length_bin': found 'huge'; expected one of short, medium"),
            ({"language": "de"}, "field 'language': found 'de'; expected one of en, zh"),
            ({"human_answer": None}, "field 'human_answer': found NoneType; expected a str"),
            ({"dialogue_history": [{"role": "system", "text": "x"}]}, "field 'dialogue_history': found turn"),
            ({"dialogue_history": [{"role": "user", "text": None}]}, "field 'dialogue_history': found turn"),
        ],
    )
    def test_the_row_that_is_no_record_is_named(
        self, tmp_path: Path, name: str, changes: dict[str, Any], problem: str
    ):
        with RecordWriter(tmp_path / name) as writer:
            writer.write(record(0))
            writer.write(record(1, **changes))
        with pytest.raises(BadInput) as error:
            list(read_records(tmp_path / name))
        assert f"{name}, row 2, id dolly-1, {problem}" in str(error.value)
        assert "\n" not in str(error.value)


class TestBrokenFiles:
    def test_a_missing_field_is_named(self, tmp_path: Path):
        row = record()
        del row["bucket_id"]
        write_jsonl(tmp_path / "a.jsonl", [row])
        with pytest.raises(BadInput, match=r"a\.jsonl, row 1, id dolly-0, field 'bucket_id': missing"):
            list(read_records(tmp_path / "a.jsonl"))

    def test_a_missing_column_is_named(self, tmp_path: Path):
        write_table(tmp_path / "a.parquet", records_to_table([record()]).drop_columns(["meta"]))
        with pytest.raises(BadInput, match=r"a\.parquet: column meta is missing"):
            list(read_records(tmp_path / "a.parquet"))

    @pytest.mark.parametrize("meta", ['{"a": NaN}', "{", "[]", "", None])
    def test_meta_that_is_no_object_is_named(self, tmp_path: Path, meta: str | None):
        table = records_to_table([record(), record(1)])
        column = RECORD_SCHEMA.get_field_index("meta")
        table = table.set_column(column, "meta", pa.array(["{}", meta], pa.string()))
        write_table(tmp_path / "a.parquet", table)
        with pytest.raises(BadInput, match=r"a\.parquet, row 2"):
            list(read_records(tmp_path / "a.parquet"))

    def test_meta_as_a_struct_is_read_like_an_object(self, tmp_path: Path):
        table = records_to_table([record()])
        column = RECORD_SCHEMA.get_field_index("meta")
        table = table.set_column(column, "meta", pa.array([{"source_id": "0"}]))
        write_table(tmp_path / "a.parquet", table)
        assert next(read_records(tmp_path / "a.parquet"))["meta"] == {"source_id": "0"}

    def test_a_column_of_another_type_is_named(self, tmp_path: Path):
        table = records_to_table([record()])
        column = RECORD_SCHEMA.get_field_index("question")
        write_table(tmp_path / "a.parquet", table.set_column(column, "question", pa.array([3])))
        with pytest.raises(BadInput, match=r"row 1, id dolly-0, field 'question': found int; expected a str"):
            list(read_records(tmp_path / "a.parquet"))

    def test_a_cut_file_is_named(self, tmp_path: Path):
        target = tmp_path / "a.parquet"
        write_table(target, records_to_table([record()]))
        target.write_bytes(target.read_bytes()[:-20])
        with pytest.raises(BadInput, match=r"a\.parquet: not a readable Parquet file"):
            list(read_records(target))

    def test_broken_data_in_the_middle_is_named_with_its_row(self, tmp_path: Path):
        target = tmp_path / "a.parquet"
        table = records_to_table(record(number) for number in range(2 * BATCH_ROWS))
        pq.write_table(table, target, row_group_size=BATCH_ROWS)
        chunk = pq.read_metadata(target).row_group(1).column(RECORD_SCHEMA.get_field_index("human_answer"))
        content = bytearray(target.read_bytes())
        start = chunk.dictionary_page_offset or chunk.data_page_offset
        content[start : start + chunk.total_compressed_size] = b"\xff" * chunk.total_compressed_size
        target.write_bytes(content)
        with pytest.raises(BadInput, match=rf"a\.parquet, row {BATCH_ROWS + 1}: broken Parquet data"):
            list(read_records(target))


class TestTables:
    def test_batches_can_be_narrowed(self, tmp_path: Path):
        write_table(tmp_path / "a.parquet", records_to_table([record(0), record(1)]))
        (batch,) = read_record_batches(tmp_path / "a.parquet", ["id", "bucket_id"])
        assert batch.to_pydict() == {
            "id": ["dolly-0", "dolly-1"],
            "bucket_id": ["en|single|assistant|short"] * 2,
        }
        with pytest.raises(BadInput, match="column score is missing"):
            list(read_record_batches(tmp_path / "a.parquet", ["id", "score"]))

    def test_further_columns_stay(self, tmp_path: Path):
        table = records_to_table([record(0), record(1)]).append_column("source_index", pa.array([7, 9]))
        write_table(tmp_path / "a.parquet", table)
        rows = table_to_records(read_table(tmp_path / "a.parquet"))
        assert [row.pop("source_index") for row in rows] == [7, 9]
        assert rows == [record(0), record(1)]
