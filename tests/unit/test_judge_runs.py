"""The judge with a real tiny model: every row asked once, resumed, in shards, by the command line; and stand-ins."""

import json
import sys
from pathlib import Path

import pytest
from model_families import record_of, tokenizer_of

from polyalign import cli
from polyalign.detection.stand_ins import build_stand_ins
from polyalign.errors import BadInputs, PolyAlignError
from polyalign.files import read_jsonl, write_jsonl
from polyalign.judge import run as judge_run
from polyalign.judge.gather import gather_judgements
from polyalign.judge.rubric import load_rubric
from polyalign.judge.run import Files, Judge, judge_files
from polyalign.judge.settings import WAYS
from polyalign.judge.stand_in import graded_examples
from polyalign.judge.summary import read_judgements
from polyalign.manifest import write_manifest
from tests.judge_world import save_judge

CELL = "en_sft_tiny"
SETTINGS = {"probed_rows": 2, "temperature": 0.8, "max_new_tokens": 320}


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Path:
    """A judge with room for the rubric, six records and predictions of five of them, one empty."""
    folder = tmp_path_factory.mktemp("judge")
    save_judge(folder / "model")
    records = [record_of(index) for index in range(6)]
    records[4]["context"] = "A long story. " * 400
    write_jsonl(folder / "records.jsonl", records)
    rows = [
        {"source_index": index, "id": f"row-{index}", "prediction": f"It is {index}." if index else ""}
        for index in range(5)
    ]
    write_jsonl(folder / "predictions.jsonl", rows)
    return folder


def judged(world: Path, out: Path, settings: dict = SETTINGS, **changes) -> dict:
    files = Files(world / "predictions.jsonl", out / f"{CELL}.jsonl", out / f"{CELL}.probes.jsonl")
    options = {
        "judge": "one",
        "settings": {"max_length": 2600, **settings},
        "engine_settings": {},
        "seed": 1,
        "work_dir": out / "work",
        **changes,
    }
    return judge_files(world / "records.jsonl", {CELL: files}, world / "model", **options)[CELL]


@pytest.fixture(scope="module")
def whole(world, tmp_path_factory) -> tuple[Path, dict]:
    """(folder, details) of a run in one piece."""
    folder = tmp_path_factory.mktemp("whole")
    return folder, judged(world, folder)


def test_every_row_has_its_line_and_errors_are_counted_not_scored(world, whole):
    folder, details = whole
    rows = read_judgements(folder / f"{CELL}.jsonl")
    assert {index: row["error"] for index, row in rows.items()} == {
        **dict.fromkeys(range(4), None),
        4: "too_long",
        5: "no_answer",
    }
    assert (details["rows"], details["scored"], details["errors"]) == (6, 4, {"no_answer": 1, "too_long": 1})
    assert any("do not fit into the judge" in line for line in details["warnings"])
    assert rows[4]["prompt_tokens"] > 2600 - 320
    rubric = load_rubric()
    for index in range(4):
        row = rows[index]
        assert row["scores"] == rubric.capped(row["reported"], row["flags"])
        assert row["composites"] == rubric.composites_of(row["scores"])
    assert rows[0]["flags"]["empty_or_unintelligible"]
    assert not (folder / "work" / CELL).exists() or not list((folder / "work" / CELL).iterdir())


def test_some_rows_are_asked_again_in_every_way(whole):
    folder, details = whole
    probes = [row for _, row in read_jsonl(folder / f"{CELL}.probes.jsonl")]
    asked = {row["source_index"] for row in probes}
    assert {(row["source_index"], row["asked"]) for row in probes} == {
        (index, way) for index in asked for way in WAYS[1:]
    }
    assert details["probes"]["rows"] == len(probes) > 0


def test_a_run_that_was_stopped_asks_only_what_is_missing(world, whole, tmp_path, monkeypatch):
    asked = []
    request = Judge.request

    def until_the_third(self, row, way):
        if len(asked) == 3:
            raise KeyboardInterrupt
        asked.append((row.source_index, way))
        return request(self, row, way)

    monkeypatch.setattr(Judge, "request", until_the_third)
    window = {"engine_settings": {"window_rows": 1}}
    with pytest.raises(KeyboardInterrupt):
        judged(world, tmp_path, **window)
    assert not (tmp_path / f"{CELL}.jsonl").exists()
    first, asked[:] = list(asked), []

    def noted(self, row, way):
        asked.append((row.source_index, way))
        return request(self, row, way)

    monkeypatch.setattr(Judge, "request", noted)
    judged(world, tmp_path, **window)
    assert len(first) == 3
    assert not set(first) & set(asked)
    for name in (f"{CELL}.jsonl", f"{CELL}.probes.jsonl"):
        assert (tmp_path / name).read_text() == (whole[0] / name).read_text()


def test_shards_together_are_the_run_in_one_piece(world, whole, tmp_path):
    manifests = []
    for number in (1, 2):
        out = tmp_path / str(number)
        details = judged(world, out, shard=(number, 2))
        manifests.append(out / "manifest.json")
        outputs = [out / f"{CELL}.jsonl", out / f"{CELL}.probes.jsonl"]
        write_manifest(manifests[-1], step="judge_shard", outputs=outputs, details=details)
    together = tmp_path / "all.jsonl", tmp_path / "all.probes.jsonl"
    details = gather_judgements(world / "records.jsonl", manifests, *together, rows=None, seed=1)
    assert {key: details[key] for key in ("rows", "scored", "errors")} == {
        key: whole[1][key] for key in ("rows", "scored", "errors")
    }
    for path, name in zip(together, (f"{CELL}.jsonl", f"{CELL}.probes.jsonl"), strict=True):
        assert path.read_text() == (whole[0] / name).read_text()
    with pytest.raises(BadInputs, match="no shard judged this row"):
        gather_judgements(world / "records.jsonl", manifests[:1], *together, rows=None, seed=1)


def test_predictions_of_other_rows_end_before_anything_is_asked(world, tmp_path, monkeypatch):
    rows = [row for _, row in read_jsonl(world / "predictions.jsonl")]
    write_jsonl(tmp_path / "shifted.jsonl", [{**row, "id": f"row-{row['source_index'] + 1}"} for row in rows])
    monkeypatch.setattr(judge_run, "open_engine", None)
    with pytest.raises(BadInputs, match="row 1, id row-0, field 'id': 'row-1' is not what row 0 holds"):
        judge_files(
            world / "records.jsonl",
            {CELL: Files(tmp_path / "shifted.jsonl", tmp_path / "out.jsonl")},
            world / "model",
            judge="one",
            settings={},
            engine_settings={},
            seed=1,
            work_dir=tmp_path / "work",
        )
    assert not (tmp_path / "out.jsonl").exists()


def test_a_judge_that_no_prompt_fits_into_is_an_error(world, tmp_path):
    with pytest.raises(PolyAlignError, match=r"not one of 5 rows was scored.*judges\.max_length"):
        judged(world, tmp_path, settings={**SETTINGS, "max_length": 512})
    assert not (tmp_path / f"{CELL}.jsonl").exists()


def test_judges_and_cells_draw_numbers_of_their_own(world, whole, tmp_path):
    """Two judges that drew the same numbers would seem to agree."""
    judged(world, tmp_path, judge="two", settings={**SETTINGS, "probes": []})
    first, second = (read_judgements(folder / f"{CELL}.jsonl") for folder in (whole[0], tmp_path))
    assert any(first[index]["reported"] != second[index]["reported"] for index in range(4))


def call(monkeypatch, capsys, *arguments) -> tuple[int, str]:
    """(exit code, standard error) of the command line."""
    monkeypatch.setattr(sys, "argv", ["polyalign", "judge", *map(str, arguments)])
    # It ends as every command does, in order or not.
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return ended.value.code or 0, capsys.readouterr().err


def given(world: Path, out: Path, **changes) -> list:
    options = {
        "--model": world / "model",
        "--records": world / "records.jsonl",
        "--predictions": world / "predictions.jsonl",
        "--out": out / "mine.jsonl",
        **changes,
    }
    return [part for option in options.items() for part in option]


def test_the_command_judges_predictions_from_anywhere(world, tmp_path, monkeypatch, capsys):
    more = {"--summary": tmp_path / "summary.json", "--rows": 3, "--bootstrap": 50}
    code, said = call(monkeypatch, capsys, *given(world, tmp_path, **more))
    assert code == 0, said
    assert "of 3 rows scored" in said
    assert "overall " in said
    assert len(read_judgements(tmp_path / "mine.jsonl")) == 3
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert 0 <= summary["cells"]["mine"]["means"]["overall"]["estimate"] <= 100
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.jsonl", "summary.json"]


@pytest.mark.parametrize(
    "changes, named",
    [
        ({"--model": "nowhere"}, ["nowhere: no tokenizer here"]),
        ({"--records": "nowhere.jsonl"}, ["nowhere.jsonl", "file not found"]),
        ({"--out": "OUT/mine.csv"}, ["mine.csv", "ends in .jsonl"]),
        ({"--base-url": "http://localhost:1/v1"}, ["--base-url", "--engine openai"]),
        ({"--predictions": "OUT/no_ids.jsonl"}, ["no_ids.jsonl, row 1", "no id", "'row-0'"]),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(world, tmp_path, monkeypatch, capsys, changes, named):
    write_jsonl(tmp_path / "no_ids.jsonl", [{"source_index": 0, "prediction": "It is 0."}])
    changes = {name: str(value).replace("OUT", str(tmp_path)) for name, value in changes.items()}
    code, said = call(monkeypatch, capsys, *given(world, tmp_path, **changes))
    assert code == 2
    (line,) = said.splitlines()
    assert all(part in line for part in named), line
    assert [path.name for path in tmp_path.iterdir()] == ["no_ids.jsonl"]


def test_a_stand_in_learns_to_reply_and_reads_the_rubric_in_few_tokens(world, tmp_path):
    tokenizer_of("tiny").save_pretrained(tmp_path / "base")
    values = {
        "kind": "judge",
        "like": "tiny",
        "hidden_size": 32,
        "layers": 1,
        "steps": 2,
        "batch_size": 2,
        "sequence_length": 2048,
        "learning_rate": 3e-3,
    }
    details = build_stand_ins(
        world / "records.jsonl", tmp_path / "stand_ins", {"judge": values}, {"tiny": tmp_path / "base"}, 1
    )
    assert details["judge"]["kind"] == "judge"
    from transformers import AutoTokenizer

    own = AutoTokenizer.from_pretrained(tmp_path / "stand_ins/judge")
    rubric = load_rubric().text()
    assert len(own(rubric)["input_ids"]) < 0.75 * len(tokenizer_of("tiny")(rubric)["input_ids"])
    prompt, reply = next(graded_examples(own, [record_of(0), record_of(1)], 2048, seed=0))
    scores = json.loads(own.decode(reply, skip_special_tokens=True))
    assert set(scores) == {*load_rubric().flags, *load_rubric().dimensions}
    assert prompt[0] == own.bos_token_id
