"""Broken raw files through the command line: one clear line each, exit code 2, and nothing written."""

import gzip
import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from polyalign import cli

DOLLY_FILE = "databricks-dolly-15k.jsonl"
DOLLY = {"instruction": "Name a colour.", "context": "", "response": "Red.", "category": "open_qa"}
ELI5_FILES = [f"eli5-category-{split}.json.gz" for split in ("train", "validation-1", "validation-2", "test")]
ELI5 = {"title": "Why?", "selftext": "", "answers": {"text": ["Because."], "score": [1]}, "q_id": "a"}
SQUAD_FILES = [f"{split}-00000-of-00001.parquet" for split in ("train", "validation")]
SPLITS = ("train", "validation", "test")


def squad_row(number: int, **changes: Any) -> dict:
    answers = {"text": ["a"], "answer_start": [0]}
    row = {"id": str(number), "title": "T", "context": "Text a.", "question": "What?", "answers": answers}
    return {**row, **changes}


def write_dolly(folder: Path, *lines: bytes) -> None:
    (folder / DOLLY_FILE).write_bytes(b"\n".join([json.dumps(DOLLY).encode(), *lines]) + b"\n")


def write_eli5(folder: Path) -> None:
    for name in ELI5_FILES:
        rows = [{**ELI5, "title": f"Why {number}? {'word ' * 50}"} for number in range(3000)]
        (folder / name).write_bytes(gzip.compress(json.dumps(rows).encode()))


def write_squad(folder: Path, *rows: dict) -> None:
    for name in SQUAD_FILES:
        own = [squad_row(number, id=f"{name}{number}") for number in range(3)]
        pq.write_table(pa.Table.from_pylist([*own, *(rows if "train" in name else ())]), folder / name)


def dialogue_zip(path: Path, split: str, without: str = "", prefix: str = "", text: bytes = b"") -> None:
    members = {
        f"dialogues_{split}.txt": text or b"a __eou__ b __eou__\n",
        f"dialogues_act_{split}.txt": b"1 1\n",
        f"dialogues_emotion_{split}.txt": b"0 0\n",
    }
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            if name != without:
                archive.writestr(prefix + name, content)


def write_dailydialog(folder: Path) -> None:
    for split in SPLITS:
        dialogue_zip(folder / f"{split}.zip", split)


def write_dureader(folder: Path) -> None:
    question = {"id": "1", "question": "问", "answers": [{"text": "答"}]}
    document = json.dumps({"data": [{"title": "", "paragraphs": [{"context": "文", "qas": [question]}]}]})
    for subset in ("checklist", "robust"):
        path = folder / f"dummy/{subset}/1.0.0/dummy_data.zip"
        path.parent.mkdir(parents=True)
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("train.json", document)
            archive.writestr("dev.json", json.dumps({"data": []}))


def write_multiwoz(folder: Path, *more: dict) -> None:
    turns = [
        {"turn_id": "0", "speaker": "USER", "utterance": "A room", "frames": []},
        {"turn_id": "1", "speaker": "SYSTEM", "utterance": "Which?", "frames": []},
    ]
    for split in ("train", "dev", "test"):
        (folder / split).mkdir()
        dialogue = {"dialogue_id": f"{split}.json", "services": [], "turns": turns}
        dialogues = [dialogue, *([{**dialogue, **change} for change in more] if split == "train" else [])]
        (folder / split / "dialogues_001.json").write_text(json.dumps(dialogues))
    (folder / "dialog_acts.json").write_text("{}")


def cut(path: Path, share: float) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])


def spoil_pages(path: Path) -> None:
    """Overwrite data in the middle of a Parquet file; its footer still says where everything is."""
    content = bytearray(path.read_bytes())
    content[4:60] = b"\xff" * 56
    path.write_bytes(bytes(content))


def squad_with_bytes(folder: Path) -> None:
    """A text column that holds bytes which are not UTF-8, as a writer without checks leaves it."""
    write_squad(folder)
    table = pq.read_table(folder / SQUAD_FILES[0])
    broken = pa.array([b"fine", b"fine", b"\xff\xfe"], pa.binary()).view(pa.string())
    place = table.schema.get_field_index("question")
    pq.write_table(table.set_column(place, "question", broken), folder / SQUAD_FILES[0])


@dataclass(frozen=True)
class Case:
    """A corpus, what is done to its good files, and what the line must name."""

    name: str
    dataset: str
    write: Callable[[Path], None]
    spoil: Callable[[Path], None]
    parts: tuple[str, ...]


def nothing(_: Path) -> None:
    """The files are written broken."""


def jsonl(name: str, line: bytes, *parts: str) -> Case:
    return Case(
        name, "dolly", lambda folder: write_dolly(folder, line), nothing, (f"{DOLLY_FILE}, row 2", *parts)
    )


def squad(name: str, change: dict, *parts: str) -> Case:
    return Case(
        name,
        "squad_v2",
        lambda folder: write_squad(folder, squad_row(9, **change)),
        nothing,
        (SQUAD_FILES[0], *parts),
    )


EMPTY = "the file is empty; expected rows of"
CASES = [
    Case("good file", "dolly", write_dolly, nothing, ()),
    # Truncated gzip.
    Case(
        "gzip cut in the middle",
        "eli5_category",
        write_eli5,
        lambda folder: cut(folder / ELI5_FILES[1], 0.5),
        (ELI5_FILES[1], "row ", "broken gzip file", "expected a whole gzip stream"),
    ),
    Case(
        "gzip without its last bytes",
        "eli5_category",
        write_eli5,
        lambda folder: (folder / ELI5_FILES[3]).write_bytes((folder / ELI5_FILES[3]).read_bytes()[:-4]),
        (ELI5_FILES[3], "broken gzip file", "expected a whole gzip stream"),
    ),
    Case(
        "no gzip at all",
        "eli5_category",
        write_eli5,
        lambda folder: (folder / ELI5_FILES[0]).write_bytes(b"<html>not found</html>"),
        (ELI5_FILES[0], "row 1", "broken gzip file"),
    ),
    # Broken JSON.
    jsonl("broken JSON line", b'{"instruction": "x", ', "not valid JSON", "expected strict UTF-8 JSON"),
    jsonl("line that is no object", b"[1, 2]", "a list stands alone", "expected an object"),
    jsonl("NaN in JSON", b'{"instruction": NaN}', "NaN is not JSON"),
    Case(
        "JSON array cut in the middle",
        "eli5_category",
        write_eli5,
        lambda folder: (folder / ELI5_FILES[0]).write_bytes(
            gzip.compress(json.dumps([ELI5, ELI5])[:-20].encode())
        ),
        (ELI5_FILES[0], "row 2", "not valid JSON", "expected an array of objects"),
    ),
    Case(
        "broken JSON in a zip",
        "dureader",
        write_dureader,
        lambda folder: cut_member(folder / "dummy/robust/1.0.0/dummy_data.zip", "train.json"),
        ("robust/1.0.0/dummy_data.zip!train.json", "not valid JSON"),
    ),
    # Wrong types.
    jsonl(
        "number for a text",
        json.dumps({**DOLLY, "response": 3}).encode(),
        "field 'response'",
        "found int 3",
        "expected a string",
    ),
    jsonl(
        "null for a text",
        json.dumps({**DOLLY, "response": None}).encode(),
        "field 'response'",
        "missing or null",
    ),
    Case(
        "wrong column type",
        "squad_v2",
        write_squad,
        lambda folder: pq.write_table(
            pa.Table.from_pylist([squad_row(1, context=5)]), folder / SQUAD_FILES[0]
        ),
        (SQUAD_FILES[0], "field 'context'", "column of type int64", "expected text"),
    ),
    Case(
        "column that is missing",
        "squad_v2",
        write_squad,
        lambda folder: pq.write_table(
            pq.read_table(folder / SQUAD_FILES[1]).drop_columns(["title"]), folder / SQUAD_FILES[1]
        ),
        (SQUAD_FILES[1], "field 'title'", "column is missing", "expected columns"),
    ),
    Case(
        "field of a column that is missing",
        "squad_v2",
        write_squad,
        lambda folder: pq.write_table(
            pa.Table.from_pylist([squad_row(1, answers={"answer_start": [0]})]), folder / SQUAD_FILES[0]
        ),
        (SQUAD_FILES[0], "field 'answers.text'", "missing", "expected fields text"),
    ),
    squad("null in a column", {"question": None}, "row 4", "field 'question'", "expected a string"),
    Case(
        "turn of an unknown speaker",
        "multiwoz",
        lambda folder: write_multiwoz(
            folder, {"dialogue_id": "x", "turns": [{"turn_id": "0", "speaker": "BOTH", "utterance": "x"}]}
        ),
        nothing,
        ("train/dialogues_001.json, row 2", "field 'speaker'", "expected USER or SYSTEM"),
    ),
    # Zips.
    Case(
        "missing file in a zip",
        "dailydialog",
        write_dailydialog,
        lambda folder: dialogue_zip(folder / "test.zip", "test", without="dialogues_act_test.txt"),
        ("test.zip", "0 members named dialogues_act_test.txt", "expected one of each of"),
    ),
    Case(
        "zip with a path outside its folder",
        "dailydialog",
        write_dailydialog,
        lambda folder: dialogue_zip(folder / "train.zip", "train", prefix="../../"),
        ("train.zip", "'../../dialogues_train.txt' points outside the archive", "expected relative paths"),
    ),
    Case(
        "zip cut in the middle",
        "dailydialog",
        write_dailydialog,
        lambda folder: cut(folder / "validation.zip", 0.5),
        ("validation.zip", "broken zip file", "expected a whole archive"),
    ),
    Case(
        "labels that are missing",
        "dailydialog",
        write_dailydialog,
        lambda folder: dialogue_zip(folder / "train.zip", "train", text=b"a __eou__ b __eou__\n" * 2),
        ("train.zip!dialogues_act_train.txt, row 2", "no labels", "expected as many lines"),
    ),
    # Ids.
    squad(
        "duplicate ids",
        {"id": f"{SQUAD_FILES[0]}1"},
        "row 4",
        f"id squad-v2-train-{SQUAD_FILES[0]}1",
        "a second time, after row 2 of",
        "expected an id of its own",
    ),
    Case(
        "duplicate ids of dialogues",
        "multiwoz",
        lambda folder: write_multiwoz(folder, {"services": ["x"]}),
        nothing,
        ("train/dialogues_001.json, row 2", "id multiwoz-train-train.json-turn-001", "after row 1 of"),
    ),
    # Bytes.
    jsonl("bytes that are not UTF-8", b'{"instruction": "\xff\xfe"}', "not UTF-8", "expected UTF-8 text"),
    Case(
        "bytes that are not UTF-8 in a zip",
        "dailydialog",
        write_dailydialog,
        lambda folder: dialogue_zip(
            folder / "train.zip", "train", text=b"a __eou__ b __eou__\nc\xff __eou__\n"
        ),
        ("train.zip!dialogues_train.txt, row 2", "not UTF-8", "expected UTF-8 text"),
    ),
    Case(
        "bytes that are not UTF-8 in a gzip",
        "eli5_category",
        write_eli5,
        lambda folder: (folder / ELI5_FILES[0]).write_bytes(gzip.compress(b'[{"title": "\xff"}]')),
        (ELI5_FILES[0], "row 1", "not UTF-8", "expected UTF-8 text"),
    ),
    Case(
        "bytes that are not UTF-8 in Parquet",
        "squad_v2",
        squad_with_bytes,
        nothing,
        (f"{SQUAD_FILES[0]}, row 3", "field 'question'", "not UTF-8", "expected UTF-8 text"),
    ),
    # Empty and truncated files.
    Case(
        "empty JSONL",
        "dolly",
        write_dolly,
        lambda folder: (folder / DOLLY_FILE).write_bytes(b""),
        (DOLLY_FILE, EMPTY),
    ),
    Case(
        "blank JSONL",
        "dolly",
        write_dolly,
        lambda folder: (folder / DOLLY_FILE).write_bytes(b"\n \n"),
        ("no record of dolly",),
    ),
    Case(
        "empty gzip",
        "eli5_category",
        write_eli5,
        lambda folder: (folder / ELI5_FILES[2]).write_bytes(b""),
        (ELI5_FILES[2], EMPTY),
    ),
    Case(
        "empty Parquet",
        "squad_v2",
        write_squad,
        lambda folder: (folder / SQUAD_FILES[1]).write_bytes(b""),
        (SQUAD_FILES[1], EMPTY),
    ),
    Case(
        "empty zip",
        "dailydialog",
        write_dailydialog,
        lambda folder: (folder / "test.zip").write_bytes(b""),
        ("test.zip", EMPTY),
    ),
    Case(
        "truncated Parquet",
        "squad_v2",
        write_squad,
        lambda folder: cut(folder / SQUAD_FILES[1], 0.6),
        (SQUAD_FILES[1], "not a readable Parquet file"),
    ),
    Case(
        "Parquet with broken data",
        "squad_v2",
        write_squad,
        lambda folder: spoil_pages(folder / SQUAD_FILES[1]),
        (SQUAD_FILES[1], "broken Parquet data", "expected a whole Parquet file"),
    ),
    Case(
        "shard that is missing",
        "squad_v2",
        write_squad,
        lambda folder: (folder / SQUAD_FILES[0]).rename(folder / "train-00000-of-00002.parquet"),
        ("train-00001-of-00002.parquet", "missing"),
    ),
]


def cut_member(path: Path, name: str) -> None:
    with zipfile.ZipFile(path) as archive:
        members = {member: archive.read(member) for member in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for member, content in members.items():
            archive.writestr(member, content[: len(content) // 2] if member == name else content)


def run_cli(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> tuple[int, str]:
    """(exit code, standard error) of `polyalign ARGUMENTS`."""
    monkeypatch.setattr(sys, "argv", ["polyalign", *arguments])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    return stop.value.code or 0, capsys.readouterr().err


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@pytest.mark.parametrize("existing", [False, True], ids=["new folder", "folder with an earlier result"])
def test_format_ends_with_one_clear_line(
    tmp_path: Path,
    case: Case,
    existing: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    source, out = tmp_path / "raw", tmp_path / "made" / "out"
    source.mkdir()
    case.write(source)
    case.spoil(source)
    if existing:
        out.mkdir(parents=True)
        (out / "train.jsonl").write_text("earlier\n")
    code, said = run_cli(
        ["format", case.dataset, "--source", str(source), "--out", str(out)], monkeypatch, capsys
    )
    if not case.parts:
        assert code == 0, said
        assert (out / "manifest.json").is_file()
        return
    assert code == 2
    (line,) = said.splitlines()
    for part in [*case.parts, "; fix: "]:
        assert part in line, line
    if existing:
        assert {path.name: path.read_text() for path in out.iterdir()} == {"train.jsonl": "earlier\n"}
    else:
        assert not (tmp_path / "made").exists()


def test_so_it_is_in_a_process_of_its_own(tmp_path: Path) -> None:
    (tmp_path / DOLLY_FILE).write_text("{broken\n")
    command = ["format", "dolly", "--source", str(tmp_path), "--out", str(tmp_path / "out")]
    done = subprocess.run(
        [sys.executable, "-m", "polyalign", *command], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
    assert f"{DOLLY_FILE}, row 1: not valid JSON" in done.stderr
    assert not (tmp_path / "out").exists()


RECORD = {
    "id": "a", "dataset": "dolly", "split": "train", "language": "en", "track": "single", "family": "assistant",
    "style_bucket": "assistant_like", "length_bin": "short", "question": "q", "context": "", "dialogue_history": [],
    "human_answer": "a", "bucket_id": "en|single|assistant|short", "meta": {},
}  # fmt: skip


@pytest.mark.parametrize("command", ["dedup", "views"])
@pytest.mark.parametrize(
    "name, content, parts",
    [
        ("train.jsonl", b"{broken\n", ("train.jsonl, row 2", "not valid JSON")),
        ("train.jsonl", json.dumps({**RECORD, "question": 3}).encode(), ("row 2", "field 'question'")),
        ("train.jsonl", b"\xff\n", ("train.jsonl, row 2", "not UTF-8")),
        ("train.jsonl.gz", None, ("train.jsonl.gz, row ", "broken gzip stream")),
        ("train.parquet", None, ("train.parquet", "not a readable Parquet file")),
    ],
    ids=["broken JSON line", "wrong type", "not UTF-8", "truncated gzip", "truncated Parquet"],
)
def test_dedup_and_views_too(
    tmp_path: Path,
    command: str,
    name: str,
    content: bytes | None,
    parts: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    path = tmp_path / "in" / "dolly" / name
    path.parent.mkdir(parents=True)
    good = json.dumps(RECORD).encode() + b"\n"
    if name.endswith(".gz"):
        path.write_bytes(gzip.compress(good * 50)[:-8])
    elif name.endswith(".parquet"):
        path.write_bytes(b"PAR1" + good)
    else:
        path.write_bytes(good + content)
    more = {"dedup": ["--report", str(tmp_path / "report.json")], "views": ["--language", "en"]}[command]
    arguments = [command, "--in", str(tmp_path / "in"), "--out", str(tmp_path / "out"), *more]
    code, said = run_cli(arguments, monkeypatch, capsys)
    assert code == 2
    (line,) = said.splitlines()
    for part in parts:
        assert part in line, line
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["in"]
