"""The shipped configurations load, and what is generated from the types says what the types say."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import jsonschema
import pytest
import yaml
import yte

from polyalign import config_docs
from polyalign.config import Config, read_config
from polyalign.prompts import load_chat_template
from polyalign.workflow.plan import GUESSED_HOURS

PAPER, DEMO, RELEASED = (Path(f"config/{name}.yaml") for name in ("config", "demo", "released"))
SHIPPED = {"paper": [PAPER], "demo": [PAPER, DEMO], "released": [PAPER, RELEASED]}


@pytest.fixture(params=SHIPPED)
def config(request: pytest.FixtureRequest, root: Path) -> Config:
    return read_config(*(root / name for name in SHIPPED[request.param]))


@pytest.mark.parametrize("name", config_docs.GENERATED)
def test_generated_files_are_in_sync_with_the_types(root: Path, name: Path):
    text = (root / name).read_text(encoding="utf-8")
    assert text == config_docs.GENERATED[name](), "run `python -m polyalign.config_docs`"


def test_every_key_says_what_it_means():
    silent = [
        f"{section.path}.{row.key}"
        for section in config_docs.sections()
        for row in section.rows
        if not row.meaning
    ]
    assert silent == []


def test_every_section_link_of_the_page_has_its_heading(root: Path):
    page = (root / config_docs.PAGE_FILE).read_text(encoding="utf-8")
    headings = {
        "".join(letter for letter in line.lstrip("# ").lower() if letter.isalnum() or letter in "_-")
        for line in page.splitlines()
        if line.startswith("#")
    }
    links = {part.split(")")[0] for part in page.split("](#")[1:]}
    assert links
    assert links <= headings


def test_a_key_of_every_depth_stands_on_the_page():
    keys = {f"{section.path}.{row.key}" for section in config_docs.sections() for row in section.rows}
    assert {
        ".seed",
        "grid.models",
        "features.lm.dtype",
        "models.<name>.build.layers",
        "pairs.rows.val",
    } <= keys


@pytest.mark.parametrize("name", [PAPER, DEMO, RELEASED])
def test_shipped_files_hold_to_the_schema(root: Path, name: Path):
    values = yaml.safe_load((root / name).read_text(encoding="utf-8"))
    jsonschema.validate(values, config_docs.json_schema())


def test_the_schema_knows_misspelt_keys_and_takes_parts():
    schema = config_docs.json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate({"models": {"llama3b": {"dtype": "float32"}}}, schema)
    for wrong in ({"sed": 1}, {"models": {"llama3b": {"dtyp": "float32"}}}, {"gpus": "two"}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, schema)


def test_shipped_configurations_name_models_with_templates(config: Config):
    for name in config.grid.models:
        assert load_chat_template(config.models[name].chat_template)


def test_the_paper_is_fourteen_corpora_and_four_models(root: Path):
    config = read_config(root / PAPER)
    assert sum(map(len, config.corpora.values())) == 14
    assert config.grid.models == ["qwen1.5b", "gemma2b", "qwen3b", "llama3b"]
    assert config.features.set == "paper-v1"
    assert config.pairs.rows.model_dump() == {"train": None, "val": None}


def test_the_demo_runs_on_a_cpu_and_downloads_nothing(root: Path):
    config = read_config(root / PAPER, root / DEMO)
    assert config.gpus == 0
    assert config.sources.kind == "demo"
    assert config.features.set == "core-v1"
    assert all(config.models[name].build is not None for name in config.grid.models)


def test_an_unknown_key_ends_a_run_with_one_line(
    tmp_path: Path, snakemake: Callable[..., subprocess.CompletedProcess[str]]
):
    mine = tmp_path / "mine.yaml"
    mine.write_text("feature: {set: core-v1}\n")
    process = snakemake("--dry-run", "--cores", "1", "--configfile", mine, "--", "tables")
    assert process.returncode == 2
    (line,) = [line for line in process.stderr.splitlines() if "unknown key" in line]
    assert line.startswith("config/config.yaml + ")
    assert line.endswith("mine.yaml, field 'feature': unknown key; fix: did you mean 'features'?")
    assert "Traceback" not in process.stderr


def gpu_rules(root: Path) -> set[str]:
    """Rules that ask for a GPU, those that inherit from one included."""
    found: set[str] = set()
    for path in sorted((root / "rules").glob("*.smk")):
        for block in re.split(r"(?m)^(?= *(?:use )?rule \w)", path.read_text(encoding="utf-8")):
            header = re.match(r" *(?:use rule (\w+) as|rule) (\w+)", block)
            if header and ("gpu=" in block or header[1] in found):
                found.add(header[2])
    return found


def test_every_gpu_rule_has_its_place_in_the_slurm_profile_and_a_guess_of_its_hours(root: Path):
    profile = yaml.safe_load((root / "profiles/slurm/config.yaml").read_text(encoding="utf-8"))
    rules = gpu_rules(root)
    assert {"train_hdpo", "detect_human_texts", "generate_shard"} <= rules
    assert set(profile["set-resources"]) == rules
    assert {tuple(values.items()) for values in profile["set-resources"].values()} == {(("nodes", 1),)}
    assert set(GUESSED_HOURS) == rules


@pytest.mark.parametrize(
    "words, cores",
    [("tables", "all"), ("-n", "all"), ("--profile slurm x.json", None), ("--executor lsf tables", None)],
)
def test_a_run_takes_all_cores_of_the_machine_unless_it_goes_elsewhere(
    root: Path, monkeypatch: pytest.MonkeyPatch, words: str, cores: str | None
):
    """Cores of the submitting machine would be the most that a job on a cluster may ask for."""
    monkeypatch.delenv("SNAKEMAKE_PROFILE", raising=False)
    monkeypatch.setattr(sys, "argv", ["snakemake", *words.split()])
    with open(root / "profiles/default/config.yaml", encoding="utf-8") as handle:
        assert yte.process_yaml(handle, require_use_yte=True).get("cores") == cores
