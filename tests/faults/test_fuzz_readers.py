"""Readers under made-up input: whatever a file holds, a reader returns or says what is wrong with it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from polyalign.audit.read import read_facts
from polyalign.config import load_config, read_config
from polyalign.critic.recipe import read_recipe
from polyalign.data.registry import load_registry
from polyalign.data.scope import load_versions
from polyalign.detection.summary import read_scores
from polyalign.errors import PolyAlignError
from polyalign.features.nltk_data import load_packages
from polyalign.features.table import read_feature_chunks
from polyalign.files import dump_json, read_json, read_jsonl, read_table
from polyalign.human_eval.exports import read_key
from polyalign.manifest import read_manifest
from polyalign.metrics.report import read_report
from polyalign.predictions import read_predictions
from polyalign.records import make_record, read_records
from polyalign.references import read_references
from polyalign.settings import read_yaml
from polyalign.tables.entries import read_entry
from polyalign.training.recipe import parse_recipe, resolve_recipe
from tests.faults.conftest import EXAMPLES

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)
OF_FILES: dict[str, tuple[str, Callable[[Path], Any]]] = {
    "json": ("x.json", read_json),
    "jsonl": ("x.jsonl", read_jsonl),
    "parquet": ("x.parquet", read_table),
    "yaml": ("x.yaml", read_yaml),
    "records": ("x.jsonl", read_records),
    "record table": ("x.parquet", read_records),
    "features": ("x.jsonl", read_feature_chunks),
    "feature table": ("x.parquet", read_feature_chunks),
    "references": ("x.json", read_references),
    "predictions": ("x.jsonl", lambda path: read_predictions(path)),
    "report": ("x.json", read_report),
    "table entry": ("x.json", read_entry),
    "audit": ("x.json", read_facts),
    "manifest": ("x.json", read_manifest),
    "scores of a detector": ("x.jsonl", read_scores),
    "key of a human evaluation": ("key.json", read_key),
    "registry of sources": ("x.yaml", load_registry),
    "registry of NLTK data": ("x.yaml", load_packages),
    "versions of the scope": ("x.yaml", load_versions),
    "configuration": ("x.yaml", read_config),
}
MANY = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def complaint(call: Callable[[], Any]) -> str | None:
    """What is said about the input, if anything; only an error of ours may come out."""
    try:
        found = call()
        if isinstance(found, Iterator):
            list(found)
    except PolyAlignError as error:
        return str(error)
    return None


@pytest.mark.parametrize("name", OF_FILES)
@MANY
@given(content=st.binary(max_size=200))
def test_any_bytes(name: str, tmp_path: Path, content: bytes) -> None:
    file, read = OF_FILES[name]
    path = tmp_path / file
    path.write_bytes(
        (b"PAR1" + content + b"PAR1") if file.endswith("parquet") and len(content) % 2 else content
    )
    assert complaint(lambda: read(path)) != ""


@pytest.mark.parametrize(
    "name", [name for name, (file, _) in OF_FILES.items() if not file.endswith("parquet")]
)
@MANY
@given(value=JSON)
def test_any_json(name: str, tmp_path: Path, value: Any) -> None:
    file, read = OF_FILES[name]
    path = tmp_path / file
    try:
        path.write_text(dump_json(value) + "\n")
    except (ValueError, PolyAlignError):
        return  # no JSON: NaN, lone surrogates
    assert complaint(lambda: read(path)) != ""


RECORD = make_record(
    id="r1",
    dataset="dolly",
    split="train",
    language="en",
    track="single",
    family="assistant",
    style_bucket="assistant_like",
    question="What is an oak?",
    context="",
    dialogue_history=[("user", "Hello."), ("assistant", "Hello.")],
    human_answer="A tree.",
    meta={},
)


@MANY
@given(field=st.sampled_from(sorted(RECORD)), value=JSON)
def test_a_record_with_any_value(tmp_path: Path, field: str, value: Any) -> None:
    path = tmp_path / "records.jsonl"
    try:
        path.write_text(dump_json({**RECORD, field: value}) + "\n")
    except (ValueError, PolyAlignError):
        return
    said = complaint(lambda: read_records(path))
    if said is None:
        (found,) = read_records(path)
        assert found[field] == value
        assert type(found[field]) is type(RECORD[field])
    else:
        assert f"{path}, row 1" in said
        assert field in said


@MANY
@given(
    key=st.sampled_from(["learning_rate", "epochs", "weights", "micro_batch_size", "schedule", "nonsense"]),
    value=JSON,
)
def test_a_recipe_with_any_value(key: str, value: Any) -> None:
    for method in ("sft", "bucketsft", "dpo", "hdpo"):
        values = {**resolve_recipe(method, {}), key: value}
        said = complaint(lambda values=values: parse_recipe(values))
        assert said is None or key in said


@MANY
@given(key=st.sampled_from(["epochs", "batch_size", "nonsense"]), value=JSON)
def test_a_critic_recipe_with_any_value(key: str, value: Any) -> None:
    said = complaint(lambda: read_recipe({key: value}))
    assert said is None or "critic recipe" in said


@MANY
@given(
    section=st.sampled_from(
        ["seed", "gpus", "grid", "corpora", "models", "features", "inference", "metrics", "pairs"]
    ),
    value=JSON,
)
def test_a_configuration_with_any_value(root: Path, section: str, value: Any) -> None:
    good = read_yaml(root / "config" / "config.yaml")
    said = complaint(lambda: load_config({**good, section: value}, "config.yaml"))
    assert said is None or "config.yaml" in said
