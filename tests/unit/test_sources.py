"""The corpus registry, mirrors, and raw files that change. Downloads: test_downloads.py; scope: test_scope.py."""

import hashlib
from pathlib import Path

import pytest
import yaml

from polyalign.corpora.catalogue import CORPORA
from polyalign.data.registry import SourceEntry, get_entry, load_registry
from polyalign.data.sources import list_files, mirror_source, verify_source
from polyalign.errors import BadInput, BadInputs
from polyalign.manifest import write_manifest

SCOPE = {
    "optimization": ["train", "dev"],
    "reference": ["train", "dev", "test"],
    "evaluation": ["test"],
    "split_policy": "local_90_5_5",
}


def entry(**changes: object) -> SourceEntry:
    values = {
        "language": "en",
        "licence": "CC0",
        "citation": "nobody",
        "hub": {"repo": "some/corpus", "revision": "v1"},
        "files": [{"path": "all.jsonl"}],
        "scope": SCOPE,
    }
    return SourceEntry.model_validate({**values, **changes})


def test_the_registry_names_every_corpus_as_the_catalogue_does() -> None:
    registry = load_registry().corpora
    assert set(registry) == set(CORPORA)
    for dataset, found in registry.items():
        assert found.language == CORPORA[dataset].language
        assert CORPORA[dataset].hub == (found.hub.repo if found.hub else found.hub_page)
        assert found.licence
        assert found.citation


@pytest.mark.parametrize(
    "change, expected",
    [
        ({"language": "de"}, "corpora.dolly.language"),
        ({"hub": None}, "either hub or base_url"),
        ({"base_url": "https://example.org/"}, "either hub or base_url"),
        ({"files": []}, "corpora.dolly.files"),
        ({"files": [{"path": "../x"}]}, "points outside"),
        ({"files": [{"path": "/x"}]}, "points outside"),
        ({"files": [{"path": "a*", "remote": "b"}]}, r"both have a \*"),
        ({"files": [{"path": "a", "sha256": "12"}]}, "dolly.files.0.sha256"),
        ({"licencse": "CC0"}, "dolly.licencse.*did you mean 'licence'"),
        ({"scope": None}, "corpora.dolly.scope'?: missing"),
        ({"scope": {**SCOPE, "evaluation": ["test", "train"]}}, "train is both optimized on and evaluated"),
        ({"scope": {**SCOPE, "evaluation": []}}, "without_role must say why"),
        ({"scope": {**SCOPE, "split_policy": "random"}}, "scope.split_policy"),
        (
            {"scope": {**SCOPE, "exclusions": [{"level": "rows", "what": "x", "reason": "y"}]}},
            "rows that are left out have a cause",
        ),
    ],
)
def test_mistakes_in_the_registry_are_named(tmp_path: Path, change: dict, expected: str) -> None:
    good = entry().model_dump(exclude_none=True)
    values = {key: value for key, value in {**good, **change}.items() if value is not None}
    with pytest.raises(BadInputs, match=expected):
        load_registry(registry_file(tmp_path, {"dolly": values}))


def test_a_role_for_a_split_that_the_corpus_lacks_is_named(tmp_path: Path) -> None:
    values = entry().model_dump(exclude_none=True)
    with pytest.raises(BadInput, match=r"corpora\.dureader\.scope\.reference.*no split test"):
        load_registry(registry_file(tmp_path, {"dureader": values}))


def registry_file(folder: Path, corpora: dict) -> Path:
    path = folder / "sources.yaml"
    path.write_text(yaml.safe_dump({"scope": {"version": 1, "date": "2026-01-01"}, "corpora": corpora}))
    return path


def test_a_misspelt_corpus_of_the_registry_is_told_its_name(tmp_path: Path) -> None:
    path = registry_file(tmp_path, {"doly": entry().model_dump(exclude_none=True)})
    with pytest.raises(BadInput, match="unknown corpus 'doly'; fix: did you mean 'dolly'"):
        load_registry(path)


def test_registry_that_is_missing_or_lacks_the_corpus(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="not found"):
        load_registry(tmp_path / "none.yaml")
    (tmp_path / "empty.yaml").write_text("[]")
    with pytest.raises(BadInput, match="expected a mapping"):
        load_registry(tmp_path / "empty.yaml")
    with pytest.raises(BadInput, match="not in the registry"):
        get_entry("coqa", file=registry_file(tmp_path, {"dolly": entry().model_dump(exclude_none=True)}))
    with pytest.raises(BadInput, match="unknown corpus"):
        get_entry("nosuch")


def put(path: Path, content: str = "{}\n") -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return hashlib.sha256(content.encode()).hexdigest()


def test_mirror_copies_what_the_registry_lists(tmp_path: Path) -> None:
    digest = put(tmp_path / "mirror/dolly/all.jsonl", "{}\n")
    put(tmp_path / "mirror/dolly/data/train-00000-of-00001.parquet", "p")
    put(tmp_path / "mirror/dolly/README.md")
    put(tmp_path / "raw/dolly/of_an_earlier_revision.jsonl")
    files = [
        {"path": "all.jsonl", "sha256": digest},
        {"path": "train-*.parquet", "remote": "data/train-*.parquet"},
        {"path": "extra/*.jsonl", "required": False},
    ]
    details = mirror_source("dolly", tmp_path / "mirror", tmp_path / "raw/dolly", entry=entry(files=files))
    assert list(details["files"]) == ["all.jsonl", "train-00000-of-00001.parquet"]
    assert details["files"]["all.jsonl"] == {"sha256": digest, "bytes": 3}
    assert list(list_files(tmp_path / "raw/dolly")) == list(details["files"])
    assert (details["licence"], details["hub"], details["revision"]) == ("CC0", "some/corpus", "v1")


def test_mirror_says_what_is_missing_or_wrong(tmp_path: Path) -> None:
    with pytest.raises(BadInput) as error:
        mirror_source("dolly", tmp_path, tmp_path / "raw", entry=entry())
    assert str(tmp_path / "dolly" / "all.jsonl") in str(error.value)
    assert "lacks a file of dolly" in str(error.value)
    assert "fix: " in str(error.value)
    put(tmp_path / "dolly/all.jsonl")
    files = [{"path": "all.jsonl", "sha256": "0" * 64}]
    with pytest.raises(BadInput, match="differs from the registry"):
        mirror_source("dolly", tmp_path, tmp_path / "raw", entry=entry(files=files))
    files = [{"path": "x/*.jsonl", "required": False}]
    with pytest.raises(BadInput, match="no file of dolly found"):
        mirror_source("dolly", tmp_path, tmp_path / "raw", entry=entry(files=files))
    assert not (tmp_path / "raw").exists()


def test_changed_raw_files_are_noticed(tmp_path: Path) -> None:
    put(tmp_path / "mirror/dolly/all.jsonl")
    raw = tmp_path / "raw"
    details = mirror_source("dolly", tmp_path / "mirror", raw, entry=entry())
    write_manifest(raw / "manifest.json", step="mirror_source", details=details)
    assert verify_source(raw) == details
    (raw / "all.jsonl").write_text("[]\n")
    with pytest.raises(BadInput, match=r"all\.jsonl: raw file of dolly changed"):
        verify_source(raw)
    (raw / "all.jsonl").unlink()
    with pytest.raises(BadInput, match="missing"):
        verify_source(raw)
