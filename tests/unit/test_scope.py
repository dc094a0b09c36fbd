"""The scope: frozen under a version, documented, and what the readers really do."""

import ast
import datetime
import inspect
from pathlib import Path

import pytest

from polyalign.config import read_config
from polyalign.corpora.catalogue import CORPORA
from polyalign.corpora.formatting import format_corpus
from polyalign.data.dedup import POLICY
from polyalign.data.registry import load_registry
from polyalign.data.scope import ScopeVersion, check_version, load_versions, scope_digest
from polyalign.data.scope_page import PAGE_FILE, current_digest, scope_page
from polyalign.errors import BadInput
from polyalign.files import read_jsonl

DIGEST = "ab" * 32


def changed(**scope: object) -> dict:
    """The registry's entries with another scope of dolly."""
    entries = dict(load_registry().corpora)
    dolly = entries["dolly"]
    entries["dolly"] = dolly.model_copy(update={"scope": dolly.scope.model_copy(update=scope)})
    return entries


def test_the_scope_is_the_one_recorded_for_its_version() -> None:
    registry = load_registry()
    check_version(registry.scope, current_digest(registry))


def test_the_page_is_in_sync_with_the_registry() -> None:
    assert PAGE_FILE.read_text(encoding="utf-8") == scope_page(), "run `python -m polyalign.data.scope_page`"


@pytest.mark.parametrize(
    "change",
    [
        {"evaluation": []},
        {"reference": ["train"]},
        {"split_policy": "official"},
        {"exclusions": load_registry().corpora["drcd"].scope.exclusions},
    ],
)
def test_every_decision_counts(change: dict) -> None:
    ours = load_registry().corpora
    assert scope_digest(changed(**change), POLICY) != scope_digest(ours, POLICY)


def test_corpora_files_and_deduplication_count_but_wording_does_not() -> None:
    ours = dict(load_registry().corpora)
    digest = scope_digest(ours, POLICY)
    fewer = {name: entry for name, entry in ours.items() if name != "drcd"}
    pinned = {**ours, "dolly": ours["dolly"].model_copy(update={"files": ours["coqa"].files})}
    for other in (fewer, pinned):
        assert scope_digest(other, POLICY) != digest
    assert scope_digest(ours, {**POLICY, "group_datasets": []}) != digest
    drcd = ours["drcd"].scope
    reworded = [exclusion.model_copy(update={"reason": "other words"}) for exclusion in drcd.exclusions]
    ours["drcd"] = ours["drcd"].model_copy(
        update={"scope": drcd.model_copy(update={"exclusions": reworded}), "licence": "other words"}
    )
    assert scope_digest(ours, POLICY) == digest


def versions_file(folder: Path) -> Path:
    path = folder / "versions.yaml"
    line = f'{{date: 2026-01-01, digest: "{DIGEST}", change: first}}'
    path.write_text(f"versions:\n  1: {line}\n")
    return path


@pytest.mark.parametrize(
    "version, digest, fix",
    [
        (1, "cd" * 32, f"version 2 and today's date, and record digest {'cd' * 32}"),
        (2, "cd" * 32, f"record version 2 here with digest {'cd' * 32}"),
        (7, DIGEST, "give config/sources.yaml version 2"),
    ],
)
def test_a_change_without_a_new_version_is_refused(
    tmp_path: Path, version: int, digest: str, fix: str
) -> None:
    current = ScopeVersion(version=version, date=datetime.date(2026, 1, 1))
    with pytest.raises(BadInput, match=f"not the one recorded as version {version}.*{fix}"):
        check_version(current, digest, versions_file(tmp_path))


def test_a_date_that_is_not_the_versions_is_refused(tmp_path: Path) -> None:
    path = versions_file(tmp_path)
    check_version(ScopeVersion(version=1, date=datetime.date(2026, 1, 1)), DIGEST, path)
    with pytest.raises(BadInput, match="states version 1 of 2026-02-02"):
        check_version(ScopeVersion(version=1, date=datetime.date(2026, 2, 2)), DIGEST, path)
    path.write_text("versions: {1: {date: 2026-01-01, digest: short, change: first}}")
    with pytest.raises(Exception, match="digest"):
        load_versions(path)


def causes_in_code(dataset: str) -> set[str]:
    """Names that a reader can count rows under: strings of `source.drop` in it and in what it calls."""
    module = inspect.getmodule(CORPORA[dataset].reader)
    functions = {
        node.name: node
        for node in ast.parse(inspect.getsource(module)).body
        if isinstance(node, ast.FunctionDef)
    }
    found, seen, waiting = set(), set(), [CORPORA[dataset].reader.__name__]
    while waiting:
        name = waiting.pop()
        if name in seen or name not in functions:
            continue
        seen.add(name)
        for node in ast.walk(functions[name]):
            if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "drop":
                found |= {
                    part.value
                    for part in ast.walk(node.args[0])
                    if isinstance(part, ast.Constant) and isinstance(part.value, str)
                }
            elif isinstance(node, ast.Name):
                waiting.append(node.id)
    return found


@pytest.mark.parametrize("dataset", CORPORA)
def test_rows_are_left_out_for_the_stated_causes_and_no_others(dataset: str) -> None:
    assert causes_in_code(dataset) == set(load_registry().corpora[dataset].scope.causes)


def test_the_shipped_configuration_is_within_the_scope(root: Path) -> None:
    config, entries = read_config(root / "config" / "config.yaml"), load_registry().corpora
    assert {name for names in config.corpora.values() for name in names} == set(entries)
    called = {"train": "train", "dev": "val", "test": "test"}
    used = {called[split] for entry in entries.values() for split in entry.scope.reference}
    assert used == set(config.references.splits)


@pytest.mark.parametrize("dataset", CORPORA)
def test_splits_come_about_as_the_policy_says(shared: Path, tmp_path: Path, dataset: str) -> None:
    """Read off the records of real files: which official splits end up where."""
    data = shared / "data"
    raw = next(data / kind / dataset for kind in ("raw", "raw_derived") if (data / kind / dataset).is_dir())
    format_corpus(dataset, raw, tmp_path, suffix=".jsonl")
    arrived: dict[str, set[str]] = {}
    for path in tmp_path.glob("*.jsonl"):
        for _, record in read_jsonl(path):
            arrived.setdefault(record["meta"]["source_split"], set()).add(record["split"])
    policy = load_registry().corpora[dataset].scope.split_policy
    if policy == "local_90_5_5":
        assert arrived == {"train": {"train", "dev", "test"}}
    elif policy == "train_90_10":
        assert arrived == {"train": {"train", "dev"}, "validation": {"test"}}
    else:
        assert all(len(splits) == 1 for splits in arrived.values()), arrived
        assert "dev" in arrived.get("validation", arrived.get("validation1", arrived.get("dev", set())))
