"""Workflow scripts under a real Snakemake: logs, exit codes, and a manifest that comes last or not at all."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from polyalign.files import sha256_file
from polyalign.job import Named, parts_of

SNAKEFILE = """
rule all:
    input: expand("{name}/manifest.json", name=["good", "bad", "crash", "unwritable"]), "plain.txt"

rule run:
    input: "source.txt", folder="folder"
    output: text="{name}/text.txt", manifest="{name}/manifest.json"
    log: "logs/{name}.log"
    params: sizes={"heads": 2}, name=lambda wildcards: wildcards.name, code="0123456789abcdef"
    script: "step.py"

rule without_manifest:
    output: "plain.txt"
    script: "step.py"
"""

STEP = '''
"""Write what the rule asks for, in the way its name says."""
import logging
import os
import sys
import warnings
from pathlib import Path

from polyalign.errors import BadInput
from polyalign.job import run_job


def main(job):
    Path(job.output[0]).write_text("text")
    name = job.params.get("name")
    print("told by print")
    print("told by stderr", file=sys.stderr)
    logging.getLogger("some.library").info("told by a logger")
    warnings.warn("told by a warning")
    os.system("echo told by a child process")
    if name == "bad":
        raise BadInput("found 'xl'", file="source.txt", row=3, fix="format it again")
    if name == "crash":
        raise ZeroDivisionError("by zero")
    return {"loss": float("nan")} if name == "unwritable" else {"rows": 3}


run_job(snakemake, main)  # noqa: F821
'''


@pytest.fixture(scope="module")
def finished(
    tmp_path_factory: pytest.TempPathFactory,
    snakemake: Callable[..., subprocess.CompletedProcess[str]],
    root: Path,
) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """(folder, process) of one run in which two jobs end well and three do not."""
    folder = tmp_path_factory.mktemp("job")
    (folder / "Snakefile").write_text(SNAKEFILE)
    (folder / "step.py").write_text(STEP)
    (folder / "source.txt").write_text("source")
    (folder / "folder").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(root))
        return folder, snakemake("--cores", "2", "--keep-going", cwd=folder, timeout=120)


def test_the_manifest_tells_what_went_in_and_came_out(finished):
    folder, _ = finished
    manifest = json.loads((folder / "good/manifest.json").read_text())
    assert manifest["step"] == "run"
    assert manifest["inputs"] == {"source.txt": sha256_file(folder / "source.txt")}
    assert manifest["outputs"] == {"good/text.txt": sha256_file(folder / "good/text.txt")}
    assert manifest["params"] == {"sizes": {"heads": 2}, "name": "good"}
    assert manifest["code"] == "0123456789abcdef"
    assert manifest["details"] == {"rows": 3}


def test_everything_that_is_said_stands_in_the_log(finished):
    log = (finished[0] / "logs/good.log").read_text()
    for way in ("print", "stderr", "a logger", "a warning", "a child process"):
        assert f"told by {way}" in log


def test_a_rule_without_log_and_manifest_runs(finished):
    assert (finished[0] / "plain.txt").read_text() == "text"


def test_bad_input_is_one_line_on_the_terminal_and_no_traceback(finished):
    folder, process = finished
    line = "source.txt, row 3: found 'xl'; fix: format it again"
    assert f"run: {line}\n" in process.stderr
    log = (folder / "logs/bad.log").read_text()
    assert line in log
    assert "Traceback" not in log.partition("told by a child process")[2]


def test_a_crash_is_named_on_the_terminal_and_traced_in_the_log(finished):
    folder, process = finished
    assert "run: ZeroDivisionError: by zero (traceback in logs/crash.log)\n" in process.stderr
    assert "Traceback (most recent call last)" in (folder / "logs/crash.log").read_text()


def test_details_that_no_manifest_can_hold_are_a_crash_like_others(finished):
    folder, process = finished
    assert "(traceback in logs/unwritable.log)\n" in process.stderr
    assert "not JSON compliant" in (folder / "logs/unwritable.log").read_text()


@pytest.mark.parametrize("name", ["bad", "crash", "unwritable"])
def test_a_job_that_fails_leaves_no_manifest(finished, name: str):
    folder, process = finished
    assert process.returncode != 0
    assert not (folder / name / "manifest.json").exists()


def test_a_job_of_several_parts_is_one_of_each():
    job = Named(
        rule="evaluate_language",
        threads=2,
        wildcards=Named(lang="en"),
        input=Named(records="test.parquet", predictions=["a.jsonl", "b.jsonl"], model=[]),
        output=Named(report=["a.json", "b.json"], manifest=["a.manifest.json", "b.manifest.json"]),
        params=Named(parts=[{"method": "sft"}, {"method": "dpo"}], seed=[1, 2], settings={"n": [3]}),
    )
    one, other = parts_of(job)
    assert (one.rule, one.threads, one.wildcards) == ("evaluate_language", 2, {"lang": "en", "method": "sft"})
    assert one.input == {"records": "test.parquet", "predictions": "a.jsonl", "model": []}
    assert other.output == {"report": "b.json", "manifest": "b.manifest.json"}
    assert other.params == {"seed": 2, "settings": {"n": [3]}}
    assert other.wildcards.get("scatteritem") is None
    with pytest.raises(AttributeError, match="scatteritem"):
        _ = other.wildcards.scatteritem


def test_a_job_without_parts_is_itself():
    job = Named(params=Named(seed=1))
    assert parts_of(job) == [job]
