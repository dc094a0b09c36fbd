"""Exported views hold to LLaMA-Factory's layout: by the checker, and by the library that reads them there."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pytest

from polyalign.data.llamafactory import check_views
from polyalign.data.record_trees import record_files
from polyalign.data.views import export_tree_views
from polyalign.errors import BadInput, BadInputs
from polyalign.files import read_json, write_json

ITEMS = [
    {"instruction": "q", "input": "", "output": "a", "weight": 1.0},
    {"instruction": "q", "input": "c", "output": "", "weight": 2, "history": [["u", "a"]]},
]
INFO = {
    "sft": {
        "file_name": "sft.json",
        "formatting": "alpaca",
        "columns": {"prompt": "instruction", "query": "input", "response": "output", "history": "history"},
    },
    "dpo": {
        "file_name": "dpo.json",
        "ranking": True,
        "columns": {"prompt": "instruction", "chosen": "chosen", "rejected": "rejected"},
    },
}
PAIRS = [{"instruction": "q", "chosen": "a", "rejected": "b"}]


def write_items(path: Path, items: list[Any]) -> None:
    path.write_text("[\n" + ",\n".join(map(json.dumps, items)) + "\n]\n")


def write_views(folder: Path, info: dict = INFO, items: list = ITEMS, pairs: list = PAIRS) -> Path:
    write_json(folder / "dataset_info.json", info)
    write_items(folder / "sft.json", items)
    write_items(folder / "dpo.json", pairs)
    return folder


def read_as_llamafactory_does(folder: Path, entry: dict) -> datasets.Dataset:
    """The table that LLaMA-Factory makes of a registered file."""
    return datasets.load_dataset(
        "json", data_files=[str(folder / entry["file_name"])], split="train", cache_dir=str(folder / ".cache")
    )


def test_what_is_right_passes(tmp_path: Path) -> None:
    assert check_views(write_views(tmp_path)) == {"sft": 2, "dpo": 1}
    assert check_views(tmp_path, items=1) == {"sft": 1, "dpo": 1}
    for entry in INFO.values():
        table = read_as_llamafactory_does(tmp_path, entry)
        assert set(entry["columns"].values()) <= set(table.column_names)


def without(name: str, key: str) -> Callable[[dict], None]:
    return lambda info: info[name]["columns"].pop(key)


def setting(name: str, **values: object) -> Callable[[dict], None]:
    return lambda info: info[name].update(values)


@pytest.mark.parametrize(
    "change, field, problem",
    [
        (setting("sft", file_name="gone.json"), "sft.file_name", "no file 'gone.json' here"),
        (setting("sft", formatting="sharegpt"), "sft.formatting", "expected alpaca"),
        (setting("sft", colums={}), "sft.colums", "unknown key"),
        (setting("dpo", ranking="yes"), "dpo.ranking", "expected true or false"),
        (setting("dpo", ranking=False), "dpo.columns.response", "missing"),
        (setting("dpo", columns=["chosen"]), "dpo.columns", "not an object"),
        (without("sft", "response"), "sft.columns.response", "missing"),
        (without("dpo", "rejected"), "dpo.columns.rejected", "missing"),
        (lambda info: info["sft"]["columns"].update(answer="output"), "sft.columns.answer", "unknown role"),
        (lambda info: info["dpo"]["columns"].update(system="system"), "system", "no item of dpo has it"),
        (lambda info: info.update(dpo=[]), "dpo", "not an object"),
    ],
)
def test_mistakes_of_the_registration(
    tmp_path: Path, change: Callable[[dict], None], field: str, problem: str
) -> None:
    info = copy.deepcopy(INFO)
    change(info)
    with pytest.raises(BadInputs) as error:
        check_views(write_views(tmp_path, info))
    assert f"field '{field}'" in str(error.value)
    assert problem in str(error.value)


@pytest.mark.parametrize(
    "item, field, problem",
    [
        ({"instruction": "q", "input": ""}, "output", "missing"),
        ({"instruction": None, "input": "", "output": "a"}, "instruction", "found NoneType"),
        ({"instruction": "q", "input": "", "output": ["a"]}, "output", "where earlier items have str"),
        ({**ITEMS[0], "weight": "1"}, "weight", "found str where earlier items have number"),
        ({**ITEMS[0], "history": [["u"]]}, "history", "pairs"),
        ({**ITEMS[0], "history": "u"}, "history", "pairs"),
    ],
)
def test_mistakes_of_an_item(tmp_path: Path, item: dict, field: str, problem: str) -> None:
    with pytest.raises(BadInputs) as error:
        check_views(write_views(tmp_path, items=[*ITEMS, item]))
    assert "sft.json, row 3" in str(error.value)
    assert f"field '{field}'" in str(error.value)
    assert problem in str(error.value)
    assert check_views(tmp_path, items=2)["sft"] == 2


def test_no_registration_and_no_json(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"dataset_info\.json.*not found"):
        check_views(tmp_path)
    write_views(tmp_path)
    (tmp_path / "sft.json").write_text("[\n{broken\n]\n")
    with pytest.raises(BadInput, match=r"sft\.json, row 1: not valid JSON"):
        check_views(tmp_path)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_item_of_real_corpora(shared: Path, tmp_path: Path, language: str) -> None:
    """All items by the checker; the table that the library makes of them has every column that is named."""
    details = export_tree_views(
        shared / "data/formatted/deduped", tmp_path, language, include_validation2=True
    )
    info = read_json(tmp_path / "dataset_info.json")
    splits = [split for split, counts in details["splits"].items() if counts["records"]]
    assert set(info) == {
        f"polyalign_{language}_{kind}_{split}" for kind in ("sft", "dist_sft") for split in splits
    }
    assert ("validation2" in splits) == (language == "en")
    for name, count in check_views(tmp_path).items():
        assert count == details["splits"][name.rpartition("_")[2]]["records"]
        table = read_as_llamafactory_does(tmp_path, info[name])
        assert table.num_rows == count
        assert set(info[name]["columns"].values()) <= set(table.column_names)


def test_a_corpus_without_conversations_names_no_history(shared: Path, tmp_path: Path) -> None:
    """LLaMA-Factory would fail on a column that is named and not there."""
    source = record_files(shared / "data/formatted/deduped")["drcd"]["train"]
    (tmp_path / "in").mkdir()
    (tmp_path / "in/drcd").symlink_to(source.parent)
    export_tree_views(tmp_path / "in", tmp_path / "out", "zh")
    for entry in read_json(tmp_path / "out/dataset_info.json").values():
        assert "history" not in entry["columns"]
        table = read_as_llamafactory_does(tmp_path / "out", entry)
        assert set(entry["columns"].values()) <= set(table.column_names)
