"""Files are whole or absent, JSON is strict both ways, and a broken file is named with its row."""

import gzip
import json
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from polyalign.errors import BadInput
from polyalign.files import (
    TableWriter,
    atomic_directory,
    atomic_path,
    dump_json,
    read_json,
    read_jsonl,
    read_lines,
    read_table,
    sha256_file,
    sha256_json,
    write_json,
    write_jsonl,
    write_table,
)

TABLE = pa.table({"id": ["a", "b", "c"], "value": [1.0, 2.0, 3.0]})


def names(folder: Path) -> set[str]:
    return set(os.listdir(folder))


class Stop(Exception):
    """Stands for whatever ends a writer halfway."""


def write_half(target: Path) -> None:
    with atomic_path(target) as temporary:
        temporary.write_text("half")
        raise Stop


def fill_half(target: Path) -> None:
    with atomic_directory(target) as temporary:
        (temporary / "weights.bin").write_text("half")
        raise Stop


def write_half_a_table(target: Path) -> None:
    with TableWriter(target, TABLE.schema) as writer:
        writer.write(TABLE)
        raise Stop


class TestAtomicPath:
    def test_file_appears_when_the_block_ends_well(self, tmp_path: Path):
        target = tmp_path / "new" / "a.json"
        with atomic_path(target) as temporary:
            temporary.write_text("1")
            assert temporary.suffix == ".json"
            assert not target.exists()
        assert target.read_text() == "1"
        assert names(target.parent) == {"a.json"}

    def test_failure_keeps_the_old_file_and_nothing_else(self, tmp_path: Path):
        target = tmp_path / "a.txt"
        target.write_text("old")
        with pytest.raises(Stop):
            write_half(target)
        assert target.read_text() == "old"
        assert names(tmp_path) == {"a.txt"}

    def test_a_block_that_writes_nothing_is_an_error(self, tmp_path: Path):
        with pytest.raises(FileNotFoundError), atomic_path(tmp_path / "a.txt"):
            pass


class TestAtomicDirectory:
    def test_old_content_goes_with_the_old_directory(self, tmp_path: Path):
        target = tmp_path / "model"
        target.mkdir()
        (target / "stale.bin").write_text("old")
        with atomic_directory(target) as temporary:
            (temporary / "weights.bin").write_text("new")
        assert names(target) == {"weights.bin"}
        assert names(tmp_path) == {"model"}

    def test_failure_keeps_the_old_directory_and_nothing_else(self, tmp_path: Path):
        target = tmp_path / "model"
        target.mkdir()
        (target / "weights.bin").write_text("old")
        with pytest.raises(Stop):
            fill_half(target)
        assert (target / "weights.bin").read_text() == "old"
        assert names(tmp_path) == {"model"}

    def test_leftovers_of_a_killed_run_are_not_mixed_in(self, tmp_path: Path):
        target = tmp_path / "model"
        (tmp_path / f".{os.getpid()}.model").mkdir()
        (tmp_path / f".{os.getpid()}.model" / "half.bin").write_text("half")
        with atomic_directory(target) as temporary:
            (temporary / "weights.bin").write_text("new")
        assert names(target) == {"weights.bin"}


class TestJson:
    @pytest.mark.parametrize(
        "value", [float("nan"), float("inf"), [-float("inf")], {"a": {"b": float("nan")}}]
    )
    def test_no_special_number_is_written(self, tmp_path: Path, value: object):
        target = tmp_path / "a.json"
        with pytest.raises(ValueError, match="JSON compliant"):
            write_json(target, value)
        with pytest.raises(ValueError, match="JSON compliant"):
            write_jsonl(tmp_path / "a.jsonl", [{"ok": 1}, {"value": value}])
        with pytest.raises(ValueError, match="JSON compliant"):
            sha256_json(value)
        assert names(tmp_path) == set()

    @pytest.mark.parametrize("text", ["NaN", '{"a": Infinity}', "[-Infinity]", "[1e999]", "[-1e999]"])
    def test_no_special_number_is_read(self, tmp_path: Path, text: str):
        target = tmp_path / "a.json"
        target.write_text(text)
        with pytest.raises(BadInput, match=r"a\.json: not valid JSON"):
            read_json(target)

    @pytest.mark.parametrize(
        "content",
        [b"", b'{"a": 1', b'{"a": 1} {"b": 2}', b'{"a": "\xff"}', b'"\\ud800"', "{}".encode("utf-16")],
        ids=["empty", "cut", "two documents", "not UTF-8", "half a surrogate pair", "UTF-16"],
    )
    def test_a_broken_document_is_named(self, tmp_path: Path, content: bytes):
        target = tmp_path / "a.json"
        target.write_bytes(content)
        with pytest.raises(BadInput, match=r"a\.json: not valid JSON"):
            read_json(target)

    def test_deep_nesting_is_told_like_other_mistakes(self, tmp_path: Path):
        target = tmp_path / "a.json"
        target.write_text("[" * 200_000)
        with pytest.raises(BadInput, match="not valid JSON"):
            read_json(target)

    def test_a_missing_file_is_named(self, tmp_path: Path):
        with pytest.raises(BadInput, match=r"gone\.json: file not found"):
            read_json(tmp_path / "gone.json")

    def test_text_comes_back_as_it_was(self, tmp_path: Path):
        value = {"中文": ["é", "🙂", "\u2028", 'a"b\\', 0.1, 1e-300, None, True]}
        write_json(tmp_path / "a.json", value)
        assert read_json(tmp_path / "a.json") == value
        assert "中文" in (tmp_path / "a.json").read_text(encoding="utf-8")

    def test_escaped_pairs_of_surrogates_are_one_character(self, tmp_path: Path):
        (tmp_path / "a.json").write_text('"\\ud83d\\ude42"')
        assert read_json(tmp_path / "a.json") == "🙂"

    def test_a_byte_order_mark_is_no_part_of_the_document(self, tmp_path: Path):
        (tmp_path / "a.json").write_bytes(b"\xef\xbb\xbf{}")
        assert read_json(tmp_path / "a.json") == {}


class TestJsonl:
    @pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz"])
    def test_rows_come_back_with_their_line_numbers(self, tmp_path: Path, name: str):
        rows = [{"text": "line\nbreak and \u2028"}, {"text": "中"}]
        assert write_jsonl(tmp_path / name, rows) == 2
        assert list(read_jsonl(tmp_path / name)) == [(1, rows[0]), (2, rows[1])]
        assert names(tmp_path) == {name}

    def test_blank_lines_count_but_are_no_rows(self, tmp_path: Path):
        (tmp_path / "a.jsonl").write_text('\n{"a": 1}\r\n  \n{"a": 2}')
        assert list(read_jsonl(tmp_path / "a.jsonl")) == [(2, {"a": 1}), (4, {"a": 2})]

    def test_no_rows_make_an_empty_file(self, tmp_path: Path):
        assert write_jsonl(tmp_path / "a.jsonl", []) == 0
        assert (tmp_path / "a.jsonl").read_bytes() == b""
        assert list(read_jsonl(tmp_path / "a.jsonl")) == []

    def test_a_source_that_fails_leaves_nothing(self, tmp_path: Path):
        def rows():
            yield {"a": 1}
            raise Stop

        for name in ("a.jsonl", "a.jsonl.gz"):
            with pytest.raises(Stop):
                write_jsonl(tmp_path / name, rows())
        assert names(tmp_path) == set()

    @pytest.mark.parametrize(
        "line, problem",
        [
            (b'{"a": ', "not valid JSON"),
            (b'{"a": NaN}', "NaN is not JSON"),
            (b"[1, 2]", "a list stands alone on the line; expected an object"),
            (b'{"a": "\xe4\xb8"}', "not UTF-8"),
            (b'{"a": "\\udc00"}', "surrogate"),
        ],
    )
    @pytest.mark.parametrize("compress", [False, True])
    def test_the_broken_line_is_named_among_good_ones(
        self, tmp_path: Path, line: bytes, problem: str, compress: bool
    ):
        content = b'{"a": 1}\n' * 6 + line + b"\n" + b'{"a": 1}\n' * 3
        target = tmp_path / ("a.jsonl.gz" if compress else "a.jsonl")
        target.write_bytes(gzip.compress(content) if compress else content)
        with pytest.raises(BadInput, match=rf"a\.jsonl(\.gz)?, row 7: .*{problem}"):
            list(read_jsonl(target))

    def test_a_cut_gzip_stream_is_told_after_the_whole_lines(self, tmp_path: Path):
        content = gzip.compress(b"".join(b'{"a": "%d"}\n' % (row * 7919) for row in range(20000)), mtime=0)
        target = tmp_path / "a.jsonl.gz"
        target.write_bytes(content[: len(content) // 2])
        seen: list[int] = []
        with pytest.raises(BadInput, match=r"a\.jsonl\.gz, row \d+: broken gzip stream"):
            seen.extend(number for number, _ in read_jsonl(target))
        assert 0 < len(seen) < 20000

    @pytest.mark.parametrize(
        "content", [b"no gzip at all", b"", gzip.compress(b"{}\n", mtime=0)[:-2] + b"xx"]
    )
    def test_what_is_no_gzip_is_told(self, tmp_path: Path, content: bytes):
        target = tmp_path / "a.jsonl.gz"
        target.write_bytes(content)
        with pytest.raises(BadInput, match="broken gzip stream"):
            list(read_lines(target))

    def test_equal_rows_give_equal_bytes_under_every_name(self, tmp_path: Path):
        for name in ("a.jsonl.gz", "another.jsonl.gz"):
            write_jsonl(tmp_path / name, [{"a": 1}])
        first, second = (tmp_path / name for name in ("a.jsonl.gz", "another.jsonl.gz"))
        assert first.read_bytes() == second.read_bytes()
        assert str(os.getpid()).encode() not in first.read_bytes()


class TestTables:
    def test_metadata_joins_what_the_schema_has(self, tmp_path: Path):
        table = TABLE.replace_schema_metadata({"kept": "1"})
        write_table(tmp_path / "a.parquet", table, {"polyalign.scorer": "tiny"})
        metadata = read_table(tmp_path / "a.parquet").schema.metadata
        assert metadata[b"kept"] == b"1"
        assert metadata[b"polyalign.scorer"] == b"tiny"

    def test_columns_are_narrowed_and_missing_ones_named(self, tmp_path: Path):
        write_table(tmp_path / "a.parquet", TABLE)
        assert read_table(tmp_path / "a.parquet", ["value"]).column_names == ["value"]
        with pytest.raises(BadInput, match=r"a\.parquet: column score is missing"):
            read_table(tmp_path / "a.parquet", ["value", "score"])

    @pytest.mark.parametrize("kept", [0, 3, 0.5, -1])
    def test_a_cut_file_is_named(self, tmp_path: Path, kept: float):
        write_table(tmp_path / "a.parquet", TABLE)
        content = (tmp_path / "a.parquet").read_bytes()
        end = int(len(content) * kept) if isinstance(kept, float) else kept
        (tmp_path / "a.parquet").write_bytes(content[:end])
        with pytest.raises(BadInput, match=r"a\.parquet: not a readable Parquet file"):
            read_table(tmp_path / "a.parquet")

    def test_broken_data_behind_a_good_footer_is_named(self, tmp_path: Path):
        target = tmp_path / "a.parquet"
        write_table(target, pa.table({"text": [f"row {row}" for row in range(1000)]}))
        chunk = pq.read_metadata(target).row_group(0).column(0)
        content = bytearray(target.read_bytes())
        start = chunk.dictionary_page_offset or chunk.data_page_offset
        content[start : start + chunk.total_compressed_size] = b"\xff" * chunk.total_compressed_size
        target.write_bytes(content)
        with pytest.raises(BadInput, match="broken Parquet data"):
            read_table(target)

    def test_batches_are_written_in_order(self, tmp_path: Path):
        with TableWriter(tmp_path / "a.parquet", TABLE.schema) as writer:
            writer.write(TABLE)
            writer.write(TABLE.to_batches()[0])
            assert names(tmp_path).isdisjoint({"a.parquet"})
        assert writer.rows == 6
        assert read_table(tmp_path / "a.parquet").column("id").to_pylist() == ["a", "b", "c"] * 2

    def test_a_writer_without_batches_makes_an_empty_table(self, tmp_path: Path):
        with TableWriter(tmp_path / "a.parquet", TABLE.schema):
            pass
        assert read_table(tmp_path / "a.parquet").num_rows == 0
        assert read_table(tmp_path / "a.parquet").schema.equals(TABLE.schema)

    def test_a_writer_that_fails_leaves_nothing(self, tmp_path: Path):
        with pytest.raises(Stop):
            write_half_a_table(tmp_path / "a.parquet")
        with (
            pytest.raises(ValueError, match="names"),
            TableWriter(tmp_path / "a.parquet", TABLE.schema) as writer,
        ):
            writer.write(TABLE.rename_columns(["id", "other"]))
        assert names(tmp_path) == set()


class TestDigests:
    def test_key_order_does_not_count(self):
        assert sha256_json({"a": 1, "b": [1, 2]}) == sha256_json({"b": [1, 2], "a": 1})
        assert sha256_json([1, 2]) != sha256_json([2, 1])
        assert sha256_json({"a": 1}) != sha256_json({"a": "1"})

    def test_files_longer_than_a_block_are_read_whole(self, tmp_path: Path):
        (tmp_path / "a").write_bytes(b"x" * (1 << 20) + b"y")
        (tmp_path / "b").write_bytes(b"x" * (1 << 20) + b"z")
        assert sha256_file(tmp_path / "a") != sha256_file(tmp_path / "b")

    def test_empty_file(self, tmp_path: Path):
        (tmp_path / "a").touch()
        assert sha256_file(tmp_path / "a").startswith("e3b0c44298fc1c14")


def test_dump_json_is_one_line_that_json_reads():
    value = {"a": "line\nbreak", "b": [1, {"c": None}]}
    assert "\n" not in dump_json(value)
    assert json.loads(dump_json(value)) == value
