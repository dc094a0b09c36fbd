"""Released records, checkpoints and predictions: taken in when they fit together, refused in one line when not."""

import csv
import json
from itertools import product
from pathlib import Path

import pytest
from metrics_world import make_records
from model_families import record_of, save_model
from released_world import HUB, PUBLISHED_KEYS, RECORDS, Repository, released_row, released_rows

from polyalign.config import read_config
from polyalign.errors import BadInput, BadInputs
from polyalign.files import read_jsonl, write_json
from polyalign.inference.runner import generate_predictions
from polyalign.metrics.evaluate import evaluate
from polyalign.predictions import ECHOES
from polyalign.records import RecordWriter, read_records
from polyalign.released import import_checkpoint, import_records
from polyalign.released_predictions import import_predictions, read_objects

PLACE = {"hub": HUB, "revision": "v1", "file": "english/runs/sft/predictions.jsonl"}


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "mirror")


def take(
    repository: Repository, rows: list[dict], cell: str = "en_sft_tiny", **options
) -> tuple[dict, list[dict]]:
    """Import rows as a cell; returns details and what was written."""
    source = repository.folder / repository.run("sft", rows)
    out = repository.root / "test.jsonl"
    details = import_predictions(source, repository.folder / RECORDS, out, cell=cell, place=PLACE, **options)
    return details, [row for _, row in read_jsonl(out)]


def refusal(repository: Repository, rows: list[dict], cell: str = "en_sft_tiny") -> str:
    with pytest.raises((BadInput, BadInputs)) as error:
        take(repository, rows, cell)
    assert not (repository.root / "test.jsonl").exists()
    return str(error.value)


class TestRecords:
    def test_they_become_the_split_row_by_row(self, repository: Repository, tmp_path: Path):
        out = tmp_path / "test.parquet"
        place = {"hub": HUB, "file": RECORDS}
        details = import_records(repository.folder / RECORDS, out, "en", place=place)
        assert list(read_records(out)) == repository.records
        assert details["records"] == 90
        assert details["source"]["hub"] == HUB
        assert len(details["source"]["sha256"]) == 64

    def test_of_another_language_are_refused(self, repository: Repository, tmp_path: Path):
        with pytest.raises(
            BadInput, match=r"test\.jsonl, row 1, id r0, field 'language': record in language 'en'"
        ):
            import_records(repository.folder / RECORDS, tmp_path / "out.parquet", "zh", place=PLACE)
        assert not (tmp_path / "out.parquet").exists()

    def test_published_views_of_the_kit_are_taken(self, shared: Path, tmp_path: Path):
        (source,) = (shared / "data/parity/zh").glob("current.jsonl*")
        details = import_records(source, tmp_path / "zh.parquet", "zh", place={"path": str(source)})
        assert details["records"] == 400
        # A report must not name folders of the machine it was made on.
        assert details["source"]["path"] == source.name


class TestPredictions:
    def test_rows_in_the_published_layout_become_those_of_a_cell(self, repository: Repository):
        released = released_rows(repository.records)
        assert set(PUBLISHED_KEYS) == set(released[0])
        details, rows = take(repository, released)
        assert [row["source_index"] for row in rows] == list(range(90))
        assert [row["prediction"] for row in rows] == [row["prediction"] for row in released]
        assert set(rows[0]) == {"source_index", "id", "prediction", "finish_reason"}
        assert [row["id"] for row in rows] == [record["id"] for record in repository.records]
        source = details["source"]
        assert (source["kind"], source["hub"], source["file"]) == ("predictions", HUB, PLACE["file"])
        assert (details["missing"], details["prompt_mode"], details["oracle"]) == (0, None, False)

    def test_white_space_is_no_difference(self, repository: Repository):
        rows = released_rows(repository.records)
        rows[3]["instruction"] = f"  {rows[3]['instruction'].replace(' ', '  ')}\r\n"
        assert len(take(repository, rows)[1]) == 90

    @pytest.mark.parametrize(
        "field", ["instruction", "input", "reference_output", "history", "id", "bucket_id"]
    )
    def test_one_field_of_another_record_stops_the_import(self, repository: Repository, field: str):
        rows = released_rows(repository.records)
        rows[17][field] = [["other", "turns"]] if field == "history" else "something else"
        message = refusal(repository, rows)
        assert len(message.splitlines()) == 1
        assert f"sft/predictions.jsonl, row 18, id r17, field '{field}'" in message
        assert "is not what row 17 holds" in message

    def test_a_run_over_other_rows_names_them_all(self, repository: Repository):
        rows = released_rows(repository.records)
        for row in rows:
            row["source_index"] = (row["source_index"] + 1) % 90
        lines = refusal(repository, rows).splitlines()
        assert len(lines) == 21
        assert lines[-1] == "... and 70 more problems of this kind"

    def test_what_does_not_say_which_record_it_answers_is_refused(self, repository: Repository):
        rows = [{"source_index": 0, "prediction": "yes"}]
        assert "nothing in the row says which record it answers" in refusal(repository, rows)

    @pytest.mark.parametrize(
        "change, message",
        [
            ({"source_index": 90}, "90 is out of range; expected 0 to 89"),
            ({"source_index": 4}, "4 already answered in row 5"),
            ({"prediction": None}, "field 'prediction': found None"),
        ],
    )
    def test_broken_rows_are_named(self, repository: Repository, change: dict, message: str):
        rows = released_rows(repository.records)
        rows[5] |= change
        assert message in refusal(repository, rows)

    def test_fewer_rows_are_counted_by_bucket_and_said(self, repository: Repository, caplog):
        rows = [
            row
            for row in released_rows(repository.records)
            if row["source_index"] % 3 or row["source_index"] > 9
        ]
        details, written = take(repository, rows)
        assert len(written) == len(rows) == 86
        assert (details["missing"], details["rows_expected"]) == (4, 90)
        short = details["buckets"]["en|single|qa|short"]
        assert (short["answered"], short["rows"]) == (26, 30)
        assert (
            "4 of 90 rows are not among the released predictions (en|single|qa|short 26 of 30)" in caplog.text
        )
        assert details["warnings"] == ["en_sft_tiny: 4 of 90 rows are not among the released predictions"]

    def test_several_objects_on_a_line_are_several_rows(self, repository: Repository, tmp_path: Path):
        file = tmp_path / "joined.jsonl"
        texts = [json.dumps(row) for row in released_rows(repository.records)]
        file.write_text(texts[0] + " " + texts[1] + "\n\n" + texts[2] + texts[3] + "\n")
        assert [(line, row["source_index"]) for line, row in read_objects(file)] == [
            (1, 0),
            (1, 1),
            (3, 2),
            (3, 3),
        ]
        file.write_text(texts[0] + "\n" + texts[1][:-5] + "\n")
        with pytest.raises(BadInput, match=r"joined\.jsonl, row 2: not valid JSON"):
            list(read_objects(file))

    def test_answers_that_did_not_fit_are_errors_without_text(self, repository: Repository):
        rows = released_rows(repository.records)
        rows[0] |= {"prediction": "[TOKEN_LIMIT_EXCEEDED]", "finish_reason": "token_limit_exceeded"}
        rows[1] |= {"finish_reason": None}
        details, written = take(repository, rows)
        assert (written[0]["prediction"], written[0]["finish_reason"]) == ("", "error")
        assert "finish_reason" not in written[1]
        assert details["counts"]["finish_reasons"] == {"error": 1, "not stated": 1, "stop": 88}
        assert details["counts"]["empty"] == 1
        assert details["warnings"] == ["en_sft_tiny test: 1 of 90 empty answers"]

    def test_rows_numbered_by_pair_go_by_the_row_of_the_split(self, repository: Repository):
        rows = released_rows(repository.records)[10:]
        for number, row in enumerate(rows):
            row |= {"source_index": number, "preference_source_index": row["source_index"]}
        details, written = take(repository, rows)
        assert [row["source_index"] for row in written] == list(range(10, 90))
        assert details["counts"]["numbered_by_pair"] == 80


class TestOracles:
    @pytest.mark.parametrize("sign", ["prompt", "flag", "run"])
    def test_an_oracle_run_cannot_become_a_method(self, repository: Repository, sign: str):
        rows = released_rows(repository.records, oracle=sign == "prompt")
        for row in rows:
            row |= {
                "flag": {"reference_conditioning": True},
                "run": {"run_kind": "hdpo_ref_conditioned"},
            }.get(sign, {})
        message = refusal(repository, rows, "en_hdpo_tiny")
        assert "90 of 90 rows were predicted from a prompt that shows the reference answer" in message
        assert "en_hdporef_tiny" in message
        details, written = take(repository, rows, "en_hdporef_tiny")
        assert (details["oracle"], details["prompt_mode"], len(written)) == (True, "oracle", 90)

    def test_a_context_that_quotes_such_a_label_is_no_oracle(self, repository: Repository):
        rows = released_rows(repository.records)
        rows[7] = released_row(7, repository.records[7], "text", oracle=True)
        assert len(take(repository, rows)[1]) == 90

    def test_its_report_says_oracle_and_source(self, repository: Repository, tmp_path: Path):
        details, _ = take(repository, released_rows(repository.records, oracle=True)[:60], "en_hdporef_tiny")
        cell = {"language": "en", "method": "hdporef", "model": "tiny"}
        report = evaluate(
            repository.folder / RECORDS,
            repository.root / "test.jsonl",
            settings={"bootstrap": 0},
            cell=cell,
            generation=details,
        )
        assert report.oracle
        assert (report.source.kind, report.source.hub, report.source.revision) == ("predictions", HUB, "v1")
        assert (report.coverage.answered, report.coverage.missing) == (60, 30)


class TestCheckpoints:
    @pytest.fixture(scope="class")
    def checkpoint(self, tmp_path_factory) -> Path:
        folder = save_model(tmp_path_factory.mktemp("checkpoint"))
        (folder / "training_args.bin").write_bytes(b"pickled")
        (folder / "README.md").write_text("# card")
        return folder

    def test_a_local_one_answers_like_a_trained_one(self, checkpoint: Path, tmp_path: Path):
        place = {"path": str(checkpoint)}
        details = import_checkpoint(place, tmp_path / "en_dpo_tiny", folder=checkpoint)
        assert details["template"] == "own"
        names = {path.name for path in (tmp_path / "en_dpo_tiny").iterdir()}
        assert names == set(details["files"])
        assert {"config.json", "model.safetensors", "tokenizer.json", "chat_template.jinja"} <= names
        assert not names & {"training_args.bin", "README.md"}
        with RecordWriter(tmp_path / "rows.parquet") as writer:
            for index in range(3):
                writer.write(record_of(index))
        made = generate_predictions(
            tmp_path / "rows.parquet",
            tmp_path / "en_dpo_tiny",
            tmp_path / "test.jsonl",
            mode="plain",
            decoding={"max_new_tokens": 4},
            engine_settings={"device": "cpu"},
            split="test",
            cell="en_dpo_tiny",
            work_dir=tmp_path / "work",
        )
        assert made["counts"]["rows"] == 3

    def test_its_template_can_be_replaced_and_one_is_added_where_there_is_none(
        self, checkpoint: Path, tmp_path: Path
    ):
        bare = tmp_path / "bare"
        import_checkpoint({"path": "x"}, bare, folder=checkpoint, chat_template="ours")
        assert (bare / "chat_template.jinja").read_text() == "ours"
        (bare / "chat_template.jinja").unlink()
        place = {"path": "x"}
        added = import_checkpoint(place, tmp_path / "added", folder=bare, default_template="default")
        assert added["template"] == "added"
        assert (tmp_path / "added/chat_template.jinja").read_text() == "default"
        with pytest.raises(BadInput, match="no chat template"):
            import_checkpoint(place, tmp_path / "none", folder=bare)

    @pytest.mark.parametrize(
        "missing, message",
        [
            ("config.json", "no model configuration in the checkpoint"),
            ("tokenizer_config.json", "no tokenizer in the checkpoint"),
            ("model.safetensors", "no safetensors weights here"),
        ],
    )
    def test_a_folder_that_is_no_model_is_refused(self, tmp_path: Path, missing: str, message: str):
        folder = tmp_path / "folder"
        folder.mkdir()
        for name in ("config.json", "tokenizer_config.json", "model.safetensors"):
            if name != missing:
                write_json(folder / name, {})
        with pytest.raises(BadInput, match=message):
            import_checkpoint({"path": str(folder)}, tmp_path / "out", folder=folder)
        assert not (tmp_path / "out").exists()


def test_every_echo_is_a_field_of_a_record():
    record = make_records(1)[0]
    assert set(ECHOES.values()) <= set(record)


def test_the_shipped_configuration_holds_what_was_released(root: Path, shared: Path):
    config = read_config(root / "config/config.yaml", root / "config/released.yaml")
    with open(shared / "data/published/released.csv", newline="") as handle:
        rows = list(csv.DictReader(handle))
    listed = 0
    for row in rows:
        cell = f"{row['language']}_{row['method']}_{row['model']}"
        if row["kind"] == "records":
            place = config.released_records[row["language"]].test
            assert (place.hub, place.file) == (row["hub_repo"], row["path"])
        elif row["kind"] in ("predictions", "checkpoint"):
            place = getattr(config.cells[cell], row["kind"])
            assert (place.hub, place.file) == (row["hub_repo"], row["path"] or None)
            assert (row["oracle_prompt"] == "1") == (row["method"] == "hdporef")
            listed += 1
    assert listed == sum(
        (c.checkpoint is not None) + (c.predictions is not None) for c in config.cells.values()
    )
    grid = product(config.grid.languages, config.grid.methods, config.grid.models)
    assert {config.source_of(*cell) for cell in grid} == {"predictions"}
