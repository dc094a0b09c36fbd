"""The runner: every row once, resumable after a kill, over-long prompts recorded, oddities counted."""

import json
import logging
import os
import signal
import subprocess
import sys

import pytest
from model_families import record_of, save_model, turns_of

from polyalign.errors import BadInput, BadInputs, PolyAlignError
from polyalign.files import read_jsonl, write_table
from polyalign.inference.part_file import PartFile
from polyalign.inference.runner import generate_predictions, row_coverage
from polyalign.records import RecordWriter, records_to_table

DECODING = {"max_new_tokens": 8, "reasoning_tokens": 4, "temperature": 0.8}
ENGINE = {"batch_tokens": 2000, "device": "cpu", "window_rows": 16}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_model(tmp_path_factory.mktemp("model"))


def write_records(path, records):
    with RecordWriter(path) as writer:
        for record in records:
            writer.write(record)
    return path


def run(records, model, folder, name="test.jsonl", *, mode="plain", decoding=None, shard=(1, 1), **engine):
    details = generate_predictions(
        records,
        model,
        folder / name,
        mode=mode,
        decoding={**DECODING, **(decoding or {})},
        engine_settings={**ENGINE, **engine},
        split="test",
        cell="en_sft_tiny",
        shard=shard,
        work_dir=folder / "work",
    )
    return details, [row for _, row in read_jsonl(folder / name)]


def test_every_row_once_in_order_with_counts(model, tmp_path):
    records = [record_of(index, length_bin="medium" if index % 2 else "short") for index in range(40)]
    for record in records:
        record["bucket_id"] = f"en|single|qa|{record['length_bin']}"
    details, rows = run(write_records(tmp_path / "test.parquet", records), model, tmp_path)
    assert [(row["source_index"], row["id"]) for row in rows] == [(i, f"row-{i}") for i in range(40)]
    assert set(rows[0]) == {
        "source_index", "id", "prediction", "finish_reason", "prompt_tokens", "completion_tokens",
    }  # fmt: skip
    counts = details["counts"]
    assert counts["rows"] == 40 == counts["stop"] + counts["length"]
    assert counts["length"] == sum(row["finish_reason"] == "length" for row in rows)
    assert counts["completion_tokens"] == sum(row["completion_tokens"] for row in rows)
    assert {name: bucket["rows"] for name, bucket in details["buckets"].items()} == {
        "en|single|qa|medium": 20,
        "en|single|qa|short": 20,
    }
    assert details["coverage"] == row_coverage(range(40))
    assert details["prompt_mode"] == "plain"
    assert not details["oracle"]
    assert details["engine"]["dtype"] == "float32"
    assert not list((tmp_path / "work").rglob("*.jsonl"))
    json.dumps(details, allow_nan=False)


def test_rows_keep_the_source_index_of_their_column(model, tmp_path):
    table = records_to_table([record_of(index) for index in (7, 3, 11)])
    write_table(tmp_path / "rows.parquet", table.append_column("source_index", [[7, 3, 11]]))
    details, rows = run(tmp_path / "rows.parquet", model, tmp_path)
    assert [(row["source_index"], row["id"]) for row in rows] == [(3, "row-3"), (7, "row-7"), (11, "row-11")]
    assert details["coverage"] == row_coverage([3, 7, 11])
    # A row's answer belongs to its index, not to its place in the file.
    _, whole = run(
        write_records(tmp_path / "all.parquet", [record_of(index) for index in range(12)]),
        model,
        tmp_path,
        "all.jsonl",
    )
    assert [whole[index] for index in (3, 7, 11)] == rows


def test_a_repeated_source_index_is_refused(model, tmp_path):
    table = records_to_table([record_of(0), record_of(1)])
    write_table(tmp_path / "rows.parquet", table.append_column("source_index", [[4, 4]]))
    with pytest.raises(BadInput, match=r"row 2, id row-1, field 'source_index': source_index 4 stands twice"):
        run(tmp_path / "rows.parquet", model, tmp_path)


def test_a_prompt_that_does_not_fit_is_recorded_not_cut(model, tmp_path, caplog):
    records = [record_of(0), record_of(1, context="long " * 400), record_of(2)]
    source = write_records(tmp_path / "test.parquet", records)
    with caplog.at_level(logging.WARNING):
        details, rows = run(source, model, tmp_path)
    assert [row["finish_reason"] == "error" for row in rows] == [False, True, False]
    assert rows[1]["prediction"] == ""
    assert rows[1]["prompt_tokens"] > 512
    assert rows[1]["completion_tokens"] == 0
    assert details["counts"]["error"] == 1
    assert "1 of 3 prompts longer than the model takes (en|single|qa|short 1 of 3)" in caplog.text


def test_a_model_that_no_prompt_fits_is_an_error_and_leaves_nothing(model, tmp_path):
    source = write_records(tmp_path / "test.parquet", [record_of(0)])
    with pytest.raises(PolyAlignError, match="not one prompt fits into the model's 5 tokens"):
        run(source, model, tmp_path, max_length=5)
    assert not (tmp_path / "test.jsonl").exists()


def test_an_answer_may_fill_what_the_prompt_leaves(model, tmp_path):
    source = write_records(tmp_path / "test.parquet", [record_of(0)])
    _, rows = run(source, model, tmp_path)
    _, tight = run(source, model, tmp_path, "tight.jsonl", max_length=rows[0]["prompt_tokens"] + 2)
    assert tight[0]["completion_tokens"] <= 2


def test_empty_and_cut_answers_are_told_by_bucket(model, tmp_path, caplog):
    source = write_records(tmp_path / "test.parquet", [record_of(index) for index in range(6)])
    with caplog.at_level(logging.WARNING):
        details, rows = run(source, model, tmp_path, decoding={"max_new_tokens": 1})
    assert details["counts"]["length"] + details["counts"]["stop"] == 6
    assert details["counts"]["empty"] == sum(not row["prediction"] for row in rows)
    assert "answers cut at the token limit (en|single|qa|short" in caplog.text


def test_every_mode_answers(model, tmp_path):
    records = [
        record_of(0, context="A story.", dialogue_history=turns_of("Who?", "A man.")),
        record_of(1, language="zh", question="北京在哪里？"),
    ]
    source = write_records(tmp_path / "test.parquet", records)
    seen = {}
    for mode in ("completion", "cot", "plain", "profile", "oracle"):
        details, rows = run(source, model, tmp_path, f"{mode}.jsonl", mode=mode)
        assert details["prompt_mode"] == mode
        assert details["oracle"] == (mode == "oracle")
        seen[mode] = rows[0]["prompt_tokens"]
        if mode == "cot":
            assert details["counts"]["without_final_answer"] == 2
            assert max(row["completion_tokens"] for row in rows) > 8
    assert seen["plain"] < seen["profile"] < seen["oracle"]


def test_no_final_answer_label_keeps_the_whole_output_and_published_cleanup_keeps_the_raw_one(
    model, tmp_path
):
    source = write_records(tmp_path / "test.parquet", [record_of(index) for index in range(30)])
    _, ours = run(source, model, tmp_path)
    _, paper = run(source, model, tmp_path, "paper.jsonl", decoding={"cleanup": "published"})
    for raw, clean in zip(ours, paper, strict=True):
        assert clean.get("raw_prediction", clean["prediction"]) == raw["prediction"]


def test_settings_that_are_wrong_are_told_with_the_nearest_name(model, tmp_path):
    source = write_records(tmp_path / "test.parquet", [record_of(0)])
    with pytest.raises(BadInputs, match="temperature"):
        run(source, model, tmp_path, decoding={"temprature": 1})
    with pytest.raises(BadInputs, match="'vllm'"):
        run(source, model, tmp_path, engine="vlm")
    with pytest.raises(BadInput, match="no tokenizer here"):
        run(source, tmp_path, tmp_path)


KILLED = """
import sys
sys.path[:0] = sys.argv[1:3]
import polyalign.inference.part_file as part_file
append = part_file.PartFile.append
def slow(self, row):
    append(self, row)
    print(row["source_index"], flush=True)
    import time; time.sleep(0.05)
part_file.PartFile.append = slow
from pathlib import Path
from test_inference_runner import run
folder = Path(sys.argv[4])
run(folder / "test.parquet", Path(sys.argv[3]), folder)
"""


def test_a_killed_run_goes_on_and_ends_as_if_it_had_not_been_killed(model, tmp_path, root, caplog):
    source = write_records(tmp_path / "test.parquet", [record_of(index) for index in range(40)])
    _, expected = run(source, model, tmp_path, "expected.jsonl")
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(root), str(root / "tests/unit"), str(model), str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    for _ in range(10):
        process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    process.wait()
    (part,) = (tmp_path / "work/en_sft_tiny").glob("inference_test_*.jsonl")
    kept = part.read_bytes()
    done = kept.count(b"\n")
    assert 10 <= done < 40
    assert not (tmp_path / "test.jsonl").exists()
    # What a kill in the middle of a write leaves.
    part.write_bytes(kept + b'{"source_index": 39, "predic')
    with caplog.at_level(logging.INFO):
        _, rows = run(source, model, tmp_path)
    assert f"going on after {done} of 40 rows" in caplog.text
    assert rows == expected
    assert not part.exists()


def test_other_decoding_does_not_take_up_the_answers_of_a_killed_run(model, tmp_path):
    source = write_records(tmp_path / "test.parquet", [record_of(index) for index in range(4)])
    _, expected = run(source, model, tmp_path, decoding={"seed": 5})
    folder = tmp_path / "work/en_sft_tiny"
    (folder / "inference_test_0123456789abcdef.jsonl").write_text('{"source_index": 0, "prediction": "x"}\n')
    _, rows = run(source, model, tmp_path, decoding={"seed": 5})
    assert rows == expected


def test_a_part_file_drops_its_torn_end(tmp_path):
    path = tmp_path / "part.jsonl"
    with PartFile(path) as part:
        part.append({"source_index": 1, "prediction": "é\n"})
        part.append({"source_index": 2, "prediction": "b"})
    whole = path.read_bytes()
    for torn in (b'{"source_', b'{"source_index": 3}', b"\x00\x00\n" + whole):
        path.write_bytes(whole + torn)
        assert sorted(PartFile(path).load()) == [1, 2]
        assert path.read_bytes() == whole
    assert PartFile(tmp_path / "none.jsonl").load() == {}
