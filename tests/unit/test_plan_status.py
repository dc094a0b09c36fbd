"""Dry-run text to jobs, jobs to the state of cells, and what they are expected to cost."""

from base64 import urlsafe_b64encode

import pytest

from polyalign.errors import PolyAlignError
from polyalign.workflow.plan import Job, ancestors, explain, parse_plan
from polyalign.workflow.status import Estimates, begun_outputs, state_of

TEXT = """\
Building DAG of jobs...
[Mon Nov 23 00:49:14 2026]
rule merge_splits:
    input: a.parquet, b.parquet
    output: splits.parquet, splits.manifest.json
    log: logs/merge_splits/en.log
    jobid: 3
    benchmark: benchmarks/merge_splits/en.tsv
    reason: Params have changed since last execution: Union of exclusive params before and now across all \
output: before: 42,{'x': 'a; b'} now: 43,{'x': 'c'} ; Input files updated by another job: a.parquet
    wildcards: lang=en
    resources: tmpdir=/tmp, mem_mb=4000

rule train_sft:
    input: splits.parquet
    output: model.safetensors
    jobid: 2
    benchmark: benchmarks/train_sft/en_tiny.tsv
    reason: Input files updated by another job: splits.parquet
    wildcards: lang=en, model=tiny
    resources: mem_mb=8000, gpu=2
localrule metrics:
    input: model.safetensors
    jobid: 0
    reason: Input files updated by another job: model.safetensors
    resources: tmpdir=/tmp
Job stats:
job            count
-----------  -------
total              3
"""


def test_every_job_of_the_text_is_read():
    merge, train, metrics = parse_plan(TEXT)
    assert merge.inputs == ("a.parquet", "b.parquet")
    assert merge.outputs == ("splits.parquet", "splits.manifest.json")
    assert merge.name == "merge_splits en"
    assert len(merge.reasons) == 2
    assert len(merge.own_reasons) == 1
    assert train.gpus == 2
    assert train.benchmark == "benchmarks/train_sft/en_tiny.tsv"
    assert train.own_reasons == ()
    assert metrics.outputs == ()


def test_a_text_that_does_not_add_up_is_an_error():
    with pytest.raises(PolyAlignError, match="counts 4 jobs, 3 were read"):
        parse_plan(TEXT.replace("total              3", "total              4"))


def test_ancestors_are_producers_first_and_only_those_needed():
    jobs = parse_plan(TEXT)
    assert [job.rule for job in ancestors(jobs, "model.safetensors")] == ["merge_splits", "train_sft"]
    assert [job.rule for job in ancestors(jobs, "splits.parquet")] == ["merge_splits"]
    assert ancestors(jobs, "elsewhere") == []


@pytest.mark.parametrize(
    "built, begun, running, expected",
    [
        (False, False, False, "missing"),
        (True, False, True, "stale"),
        (True, True, True, "running"),
        (True, True, False, "interrupted"),
    ],
)
def test_states_of_what_is_due(tmp_path, built, begun, running, expected):
    jobs = parse_plan(TEXT)[:2]
    if built:
        (tmp_path / "model.safetensors").touch()
    markers = {"splits.parquet"} if begun else set()
    hours = {"splits.parquet": 1.0, "model.safetensors": 3.0}
    found = state_of("model.safetensors", jobs, hours, markers, running, tmp_path)
    assert found["state"] == expected
    assert found["cause"].startswith("merge_splits en: parameters changed")
    assert (found["artifact"], found["steps"], found["gpu_hours"]) == ("splits.parquet", 2, 6.0)
    assert state_of("elsewhere", jobs, hours, markers, running, tmp_path) == {"state": "fresh"}


PARAMS = (
    "Params have changed since last execution: Union of exclusive params before and now across all output: "
)


@pytest.mark.parametrize(
    "reason, expected",
    [
        ("Missing output files: a, b", "not built"),
        ("Incomplete output files: a", "interrupted"),
        ("Updated input files: raw.json", "input changed: raw.json"),
        (
            "Set of input files has changed since last execution",
            "set of input files has changed since last execution",
        ),
        (PARAMS + "before: '0123456789abcdef' now: 'fedcba9876543210' ", "code changed"),
        (
            PARAMS
            + "before: {'beta': 0.1, 'online': {'every': 2}} now: {'beta': 0.3, 'online': {'every': 4}} ",
            "parameter changed: beta 0.1 -> 0.3, online.every 2 -> 4",
        ),
        (
            PARAMS + "before: '0123456789abcdef',42 now: 'fedcba9876543210',43 ",
            "code changed and parameter changed: 42 -> 43",
        ),
        (
            PARAMS
            + "before: 'train environment 0123456789abcdef' now: 'train environment fedcba9876543210' ",
            "environment changed",
        ),
        (PARAMS + "before: <nothing exclusive> now: 7 ", "parameters changed"),
        (PARAMS + "before: <function f> now: 7 ", "parameters changed"),
    ],
)
def test_reasons_are_told_in_few_words(reason, expected):
    assert explain(reason) == expected


def test_hours_come_from_the_nearest_benchmark(tmp_path):
    folder = tmp_path / "benchmarks" / "train_sft"
    folder.mkdir(parents=True)
    header = "s\th:m:s\tmax_rss\n"
    (folder / "en_a.tsv").write_text(header + "7200\t2:00:00\t1\n")
    (folder / "en_b.tsv").write_text(header + "3600\t1:00:00\t1\n10800\t3:00:00\t1\n")
    (folder / "en_c.tsv").write_text(header + "360\t0:06:00\t1\n")
    estimates = Estimates(tmp_path, {"train_dpo": 5.0})
    assert estimates.hours(Job("train_sft", benchmark="benchmarks/train_sft/en_c.tsv")) == 0.1
    assert estimates.hours(Job("train_sft", benchmark="benchmarks/train_sft/en_new.tsv")) == 2.0
    assert estimates.hours(Job("train_dpo", benchmark="benchmarks/train_dpo/en_a.tsv")) == 5.0
    assert estimates.used == {"own benchmark": 1, "benchmarks of its rule": 1, "configured guess": 1}
    assert estimates.hours(Job("train_dpo", wildcards={"scatteritem": "3-of-10"})) == 0.5


def test_begun_outputs_are_read_from_snakemakes_markers(tmp_path):
    name = "results/checkpoints/en_sft_llama3b/" + "long/" * 60 + "model.safetensors"
    encoded = urlsafe_b64encode(name.encode()).decode()
    parts = [encoded[start : start + 254] for start in range(0, len(encoded), 254)]
    marker = (tmp_path / ".snakemake" / "incomplete").joinpath(
        *("@" + part for part in parts[:-1]), parts[-1]
    )
    marker.parent.mkdir(parents=True)
    marker.write_text("{}")
    assert begun_outputs(tmp_path) == {name}
