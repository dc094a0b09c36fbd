"""The demo from raw corpora to tables: what its artifacts say, and how they are kept fresh."""

import csv
import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from polyalign.files import sha256_file
from tests.demo_world import Demo, edit, planned_jobs

pytestmark = pytest.mark.e2e

METHODS = ("base", "sft", "bucketsft", "dpo", "hdpo")


def numbers(value):
    """Every number in a JSON value."""
    if isinstance(value, dict):
        for item in value.values():
            yield from numbers(item)
    elif isinstance(value, list):
        for item in value:
            yield from numbers(item)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield value


@pytest.mark.parametrize("cell", [f"{lang}_{method}_tiny" for lang in ("en", "zh") for method in METHODS])
def test_every_report_covers_its_split_with_finite_numbers(demo, cell):
    lang, method, _ = cell.split("_")
    report = json.loads((demo.runs / f"results/metrics/{cell}.json").read_text())
    test = pq.read_table(demo.runs / f"results/splits/{lang}/test.parquet", columns=["bucket_id"])
    coverage = report["coverage"]
    assert coverage["rows_expected"] == coverage["answered"] == test.num_rows
    assert coverage["missing"] == 0
    assert all(math.isfinite(number) for number in numbers(report))
    scored = {row["bucket_id"] for row in report["metrics"]["utility"]["by_bucket"]}
    assert scored == set(test["bucket_id"].to_pylist())
    assert report["metrics"]["bng"]["overall_macro"] > 0
    assert report["prompt_mode"] == {"base": "completion", "sft": "plain", "dpo": "plain"}.get(
        method, "profile"
    )
    assert report["oracle"] is False


def manifests(runs: Path) -> dict[str, tuple[Path, dict]]:
    """{artifact: (its manifest's path, the manifest)} of every manifest of a run."""
    found = {}
    for path in runs.rglob("*manifest.json"):
        if ".snakemake" in path.parts:
            continue
        manifest = json.loads(path.read_text())
        for output in manifest.get("outputs", {}):
            found[output] = (path, manifest)
        found[str(path.relative_to(runs))] = (path, manifest)
    return found


def test_a_number_is_traced_back_to_raw_files(demo):
    """From a report through every manifest to the raw corpora, with each digest on the way true."""
    known = manifests(demo.runs)
    waiting, seen, steps = ["results/metrics/en_hdpo_tiny.json"], set(), set()
    while waiting:
        artifact = waiting.pop()
        if artifact in seen:
            continue
        seen.add(artifact)
        assert artifact in known, f"no manifest lists {artifact}"
        _, manifest = known[artifact]
        steps.add(manifest.get("step"))
        for name, digest in {**manifest.get("inputs", {}), **manifest.get("outputs", {})}.items():
            assert sha256_file(demo.runs / name) == digest, f"{name} is not what {artifact} was made from"
        waiting += [name for name in manifest.get("inputs", {}) if not Path(name).is_absolute()]
    chain = {
        "format_corpus",
        "merge_splits",
        "build_references",
        "train_bucketsft",
        "train_critic",
        "train_hdpo",
    }
    assert chain <= steps
    assert any(name.startswith("resources/raw/") for name in seen)


def test_a_second_run_has_nothing_to_do(demo):
    assert planned_jobs(demo.outcome("-n")) == {}


def test_a_recipe_value_reruns_what_depends_on_it(demo):
    jobs = planned_jobs(demo.outcome("-n", "--config", "recipe_overrides={hdpo: {beta: 0.3}}"))
    assert jobs["train_hdpo"] == 2
    assert jobs["evaluate_predictions"] == 2
    assert not {"train_sft", "train_bucketsft", "train_dpo", "train_critic", "build_references"} & set(jobs)


CELLS = [f"zh_{method}_tiny" for method in METHODS]
ANSWERED = ("predictions/{cell}/test.*", "features/zh/*/{cell}_test.*", "metrics/{cell}[._]*")
TOGETHER = [
    pytest.param(
        [pattern.format(cell=cell) for cell in CELLS for pattern in ANSWERED],
        [f"results/metrics/{cell}.json" for cell in CELLS],
        {
            "generate_language": "generate_predictions",
            "extract_language_text_features": "extract_prediction_text_features",
            "score_language_features": "score_prediction_features",
            "evaluate_language": "evaluate_predictions",
        },
        id="predictions",
    ),
    pytest.param(
        [
            f"{folder}{split}.*"
            for folder in ("predictions/zh_sft_tiny/", "features/zh/tiny/zh_sft_tiny_")
            for split in ("train", "val")
        ],
        [f"results/features/zh/tiny/zh_sft_tiny_{split}.parquet" for split in ("train", "val")],
        {
            "generate_pair_answers": "generate_predictions",
            "score_pair_features": "score_prediction_features",
        },
        id="pairs",
    ),
    pytest.param(
        ["features/zh/tiny/human_*"],
        [f"results/features/zh/tiny/human_{split}.parquet" for split in ("train", "val", "test")],
        {
            "score_all_human_features": "score_human_features",
        },
        id="human answers",
    ),
]


@pytest.mark.parametrize("patterns, targets, rules", TOGETHER)
def test_one_job_for_a_language_makes_what_jobs_of_its_parts_make(demo, tmp_path, patterns, targets, rules):
    """Byte for byte: what was made in jobs of one cell, or split, is taken away and made again."""
    runs = tmp_path / "runs"
    shutil.copytree(demo.runs, runs)
    made = {file: file.read_bytes() for one in patterns for file in (runs / "results").glob(one)}
    assert len(made) >= 6
    for file in made:
        file.unlink()
    # Other jobs, which have other parameters now, are not to make anew what was there before.
    options = ("--directory", runs, "--allowed-rules", *rules, "--config")
    together = [f"{part}={{job: language}}" for part in ("features", "inference", "metrics")]
    said = demo.outcome(*options, *together, targets=targets)
    assert planned_jobs(said) == dict.fromkeys(rules, 1)
    for file, before in made.items():
        if not file.name.endswith("manifest.json"):
            assert file.read_bytes() == before, file
            continue
        one, other = json.loads(before), json.loads(file.read_bytes())
        assert rules[other.pop("step")] == one.pop("step")
        for manifest in (one, other):
            # A manifest that is read names the step that made it.
            manifest["inputs"] = {
                name: None if name.endswith("manifest.json") else digest
                for name, digest in manifest["inputs"].items()
            }
        assert one == other, file


def test_code_of_an_imported_module_reruns_its_stage_alone(demo):
    module = demo.root / "polyalign/metrics/utility.py"
    undo = edit(module, "\ndef ", "\n_CHANGED = True\n\n\ndef ")
    try:
        jobs = planned_jobs(demo.outcome("-n"))
    finally:
        undo()
    assert jobs == {"evaluate_predictions": 10, "build_tables": 2, "audit_reports": 1}


def test_an_environment_reruns_its_stage_alone(demo):
    undo = edit(demo.root / "envs/eval-cpu.yaml", "scikit-learn==", "scikit-learn==0.")
    try:
        jobs = planned_jobs(demo.outcome("-n"))
    finally:
        undo()
    assert jobs["evaluate_predictions"] == 10
    assert not {"train_sft", "extract_text_features", "generate_predictions", "format_corpus"} & set(jobs)


def test_a_chat_template_reruns_every_model_that_is_given_it(demo):
    undo = edit(demo.root / "config/chat_templates/tiny.jinja", "{%", "{# Nobody sees this. #}{%")
    try:
        jobs = planned_jobs(demo.outcome("-n"))
    finally:
        undo()
    assert jobs["build_tiny_model"] == 2
    assert jobs["evaluate_predictions"] == 10
    assert "merge_splits" not in jobs


def test_a_raw_file_reruns_its_corpus_and_what_follows(demo):
    manifest = demo.runs / "resources/raw/dolly/manifest.json"
    undo = edit(manifest, '"step"', ' "step"')
    try:
        jobs = planned_jobs(demo.outcome("-n"))
    finally:
        undo()
    assert jobs["format_corpus"] == 1
    assert jobs["find_duplicates"] == 1
    assert "generate_source" not in jobs


NON_TRIGGERS = (
    ("polyalign/metrics/utility.py", "\ndef ", "\n# A remark.\ndef "),
    ("polyalign/metrics/utility.py", '"""', '"""Indeed: '),
    ("polyalign/metrics/utility.py", "\n\n\ndef ", "\n\n\n\n\ndef "),
    ("rules/metrics.smk", "# ", "# Indeed: "),
    ("envs/eval-cpu.yaml", "# ", "# Indeed: "),
)


def test_what_changes_nothing_reruns_nothing(demo):
    """Comments of modules, rule files and environments, docstrings and formatting, all at once."""
    with ExitStack() as edits:
        for file, old, new in NON_TRIGGERS:
            edits.callback(edit(demo.root / file, old, new))
        assert planned_jobs(demo.outcome("-n")) == {}


def test_a_touched_file_and_a_fresh_clone_rerun_nothing(demo, tmp_path):
    now = time.time()
    for path in demo.root.rglob("*"):
        inside = path.relative_to(demo.root).parts
        if (
            path.is_file()
            and not path.is_symlink()
            and inside[0] in ("polyalign", "rules", "workflow_scripts", "envs")
        ):
            os.utime(path, (now, now))
    records = demo.runs / "results/splits/en/val.parquet"
    stat = records.stat()
    os.utime(records, (now, now))
    try:
        assert planned_jobs(demo.outcome("-n")) == {}
    finally:
        os.utime(records, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    # Files copied without their times, as a clone writes them.
    without_runs = shutil.ignore_patterns("runs", "__pycache__", ".snakemake")
    shutil.copytree(
        demo.root, tmp_path / "clone", symlinks=True, ignore=without_runs, copy_function=shutil.copyfile
    )
    clone = Demo(tmp_path / "clone", demo.runs)
    assert planned_jobs(clone.outcome("-n")) == {}


# Both look at a run as it was built, so they stand before the test that trains a cell again.
def status_of(demo, *configfiles: Path) -> dict[str, dict]:
    """{cell: its status} of the small demo."""
    files = ["config/demo.yaml", "tests/e2e/small.yaml", *map(str, configfiles)]
    command = [sys.executable, "-m", "polyalign", "status", "--json", "--directory", str(demo.runs)]
    done = subprocess.run(
        [*command, "--configfile", *files],
        cwd=demo.root,
        env=demo.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    cells = json.loads(done.stdout)["cells"]
    return {f"{cell['language']}_{cell['method']}_{cell['model']}": cell for cell in cells}


def test_status_tells_fresh_from_stale_with_the_deepest_cause(demo, tmp_path):
    fresh = status_of(demo)
    assert {cell["state"] for cell in fresh.values()} == {"fresh"}
    changed = tmp_path / "changed.yaml"
    changed.write_text("recipe_overrides: {sft: {learning_rate: 0.0123}}\n")
    stale = status_of(demo, changed)
    # The pairs of DPO and HDPO hold answers of the SFT model.
    untouched = {name for name, cell in stale.items() if cell["state"] == "fresh"}
    assert untouched == {"en_base_tiny", "zh_base_tiny", "en_bucketsft_tiny", "zh_bucketsft_tiny"}
    for name in ("en_sft_tiny", "en_dpo_tiny", "en_hdpo_tiny"):
        assert stale[name]["cause"].startswith("train_sft en tiny: parameter changed: learning_rate")
        assert stale[name]["artifact"] == "results/checkpoints/en_sft_tiny/model.safetensors"


def test_provenance_verifies_and_names_what_was_changed(demo, tmp_path):
    report = demo.runs / "results/metrics/en_hdpo_tiny.json"
    command = [sys.executable, "-m", "polyalign", "provenance", str(report)]
    whole = subprocess.run(
        [*command, "--crate", tmp_path / "crate"], capture_output=True, text=True, check=False
    )
    assert whole.returncode == 0, whole.stdout + whole.stderr
    assert "every digest agrees" in whole.stdout
    for step in ("train_hdpo", "train_critic", "build_references", "generate_source"):
        assert step in whole.stdout
    metadata = json.loads((tmp_path / "crate/ro-crate-metadata.json").read_text())["@graph"]
    actions = [entity for entity in metadata if entity.get("@type") == "CreateAction"]
    assert len(actions) > 20
    # What Workflow Run Crate 0.5 requires: its profiles, a main workflow, runs with what they ran, read and wrote.
    entities = {entity["@id"]: entity for entity in metadata}
    profiles = {profile["@id"] for profile in entities["./"]["conformsTo"]}
    assert {f"https://w3id.org/ro/wfrun/{kind}/0.5" for kind in ("process", "workflow")} < profiles
    main = entities[entities["./"]["mainEntity"]["@id"]]
    assert set(main["@type"]) == {"File", "SoftwareSourceCode", "ComputationalWorkflow"}
    assert {action["@id"] for action in actions} == {one["@id"] for one in entities["./"]["mentions"]}
    for action in actions:
        assert action["instrument"]["@id"] in entities
        assert all(one["@id"] in entities for one in [*action["object"], *action["result"]])
    files = [entity["@id"] for entity in metadata if "File" in entity["@type"]]
    assert all((tmp_path / "crate" / name).is_file() for name in files)
    changed = demo.runs / "results/references/en/tiny/bucket_references.json"
    stat = changed.stat()
    with open(changed, "a") as handle:
        handle.write(" ")
    try:
        broken = subprocess.run(command, capture_output=True, text=True, check=False)
    finally:
        changed.write_text(changed.read_text()[:-1])
        os.utime(changed, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert broken.returncode == 1
    assert (
        "output results/references/en/tiny/bucket_references.json is not the file this step wrote"
        in broken.stdout
    )


def test_training_killed_goes_on_from_its_last_state(demo):
    """SIGKILL in the middle of Bucket-SFT; the same command resumes and ends like the run never killed."""
    finished = "results/checkpoints/en_bucketsft_tiny/manifest.json"
    manifest = json.loads((demo.runs / finished).read_text())
    weights = demo.runs / "results/checkpoints/en_bucketsft_tiny/model.safetensors"
    expected = sha256_file(weights)
    command = demo.command("--forcerun", "train_bucketsft", targets=[finished])
    run = subprocess.Popen(
        command,
        cwd=demo.root,
        env=demo.environment,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    state = demo.runs / "work/en_bucketsft_tiny"
    deadline = time.monotonic() + 300
    while not list(state.glob("*/checkpoints/checkpoint-*/complete.json")):
        assert run.poll() is None, "training ended before it could be killed"
        assert time.monotonic() < deadline, "no training state was written"
        time.sleep(0.05)
    os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    demo.outcome(targets=[finished])
    log = (demo.runs / "logs/train_bucketsft/en_tiny.log").read_text()
    assert re.search(r"training: [1-9]\d* of \d+ steps done", log), log[-3000:]
    assert sha256_file(weights) == expected
    assert json.loads((demo.runs / finished).read_text())["params"] == manifest["params"]


def failure_line(demo, tmp_path: Path, target: str, rule: str) -> str:
    """The line that `rule` ends with when `target` is built from the mirror below `tmp_path`."""
    sources = f"sources={{mirror: {tmp_path / 'mirror'}}}"
    done = demo.snakemake("--directory", tmp_path / "runs", "--config", sources, targets=[target])
    assert done.returncode != 0
    lines = {line for line in (done.stdout + done.stderr).splitlines() if line.startswith(f"{rule}:")}
    assert len(lines) == 1
    return lines.pop()


def test_a_malformed_raw_row_ends_in_one_line(demo, tmp_path):
    dolly = tmp_path / "mirror" / "dolly"
    dolly.mkdir(parents=True)
    good = {"instruction": "Name a tree.", "context": "", "response": "An oak.", "category": "open_qa"}
    lines = [json.dumps(good), json.dumps({**good, "response": 7})]
    (dolly / "databricks-dolly-15k.jsonl").write_text("\n".join(lines) + "\n")
    line = failure_line(demo, tmp_path, "results/formatted/dolly/train.parquet", "format_corpus")
    for part in ("databricks-dolly-15k.jsonl", "row 2", "'response'", "expected"):
        assert part in line
    assert not list((tmp_path / "runs/results/formatted").rglob("*.parquet"))


def test_a_missing_mirror_file_ends_in_one_line_before_any_job(demo, tmp_path):
    (tmp_path / "mirror").mkdir()
    sources = f"sources={{mirror: {tmp_path / 'mirror'}}}"
    target = "resources/raw/dolly/manifest.json"
    done = demo.snakemake("--directory", tmp_path / "runs", "--config", sources, targets=[target])
    assert done.returncode != 0
    (line,) = {line for line in done.stderr.splitlines() if "databricks-dolly-15k.jsonl" in line}
    assert "fix:" in line
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "runs" / target).exists()


def test_the_table_has_every_method_with_intervals(demo):
    for lang in ("en", "zh"):
        with open(demo.runs / f"results/tables/main_{lang}.csv", newline="") as handle:
            rows = list(csv.DictReader(handle))
        rows = [row for row in rows if row["table"] == "methods"]
        assert tuple(dict.fromkeys(row["method"] for row in rows if row["method"] != "human")) == METHODS
        f1 = [row for row in rows if row["metric"] == "qa_f1" and row["method"] in METHODS]
        assert len(f1) == len(METHODS)
        assert all(float(row["low"]) <= float(row["estimate"]) <= float(row["high"]) for row in f1)
        for suffix in ("md", "html", "tex", "pdf", "png"):
            assert (demo.runs / f"results/tables/main_{lang}.{suffix}").stat().st_size > 0


def test_the_report_holds_every_table_figure_and_curve_and_loads_nothing(demo):
    demo.outcome("--report", "results/report.html", targets=["tables"])
    report = (demo.runs / "results/report.html").read_text()
    for page in ("main", "datasets", "buckets", "ablation", "published"):
        assert f"results/tables/{page}_zh.html" in report
    for figure in ("main", "frontier", "buckets", "contributions"):
        assert f"results/tables/{figure}_en.png" in report
    assert "results/checkpoints/en_hdpo_tiny/loss_curve.png" in report
    assert "Every metric of every method, with 95% bootstrap intervals" in report
    assert not re.search(r"<(script|link|img)[^>]+(src|href)=['\"]https?:", report)


def test_chain_of_thought_and_the_oracle_are_answered_outside_the_table(demo):
    """Neither is a method of the demo's table; the oracle's output says what it is, and no table takes it."""
    cot, oracle = "en_cot_tiny", "en_hdporef_tiny"
    demo.outcome(targets=[f"results/predictions/{cot}/test.jsonl", f"results/metrics/{oracle}.json"])
    made = {
        cell: json.loads((demo.runs / f"results/predictions/{cell}/test.manifest.json").read_text())[
            "details"
        ]
        for cell in (cot, oracle)
    }
    assert (made[cot]["prompt_mode"], made[cot]["oracle"]) == ("cot", False)
    lines = (demo.runs / f"results/predictions/{cot}/test.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    unlabelled = sum(
        not re.search(
            r"^\W*(?:Final answer|最终答案)\W*[:：]",
            row.get("raw_prediction", row["prediction"]),
            re.I | re.M,
        )
        for row in rows
    )
    assert made[cot]["counts"]["without_final_answer"] == unlabelled > 0
    assert (made[oracle]["prompt_mode"], made[oracle]["oracle"]) == ("oracle", True)
    report = demo.runs / f"results/metrics/{oracle}.json"
    assert json.loads(report.read_text())["oracle"] is True
    # It was asked with the reference in sight: longer prompts to the same rows than HDPO's own.
    hdpo = json.loads((demo.runs / "results/predictions/en_hdpo_tiny/test.manifest.json").read_text())[
        "details"
    ]
    assert made[oracle]["coverage"] == hdpo["coverage"]
    assert made[oracle]["counts"]["prompt_tokens"] > hdpo["counts"]["prompt_tokens"]
    table = [
        sys.executable,
        "-m",
        "polyalign",
        "tables",
        "--metrics",
        report,
        "--out",
        demo.runs / "oracle_table",
    ]
    done = subprocess.run(
        table, cwd=demo.root, env=demo.environment, text=True, capture_output=True, check=False
    )
    assert done.returncode == 2
    assert "oracle" in done.stderr + done.stdout
    assert not (demo.runs / "oracle_table").exists()


def test_judges_grade_the_answers_of_the_cells(demo):
    demo.outcome(targets=["results/tables/judge_zh.md"])
    results = demo.runs / "results"
    for judge in ("tiny-judge", "small-judge"):
        summary = json.loads((results / f"judge/{judge}/summary_zh.json").read_text())
        assert list(summary["cells"]) == [
            f"zh_{method}_tiny" for method in ("base", "sft", "bucketsft", "dpo", "hdpo")
        ]
        assert (summary["rows"], summary["common_rows"]) == (6, 6)
        assert summary["health"]["replies"]["asked"] == 5 * 6
        assert set(summary["health"]["probes"]) == {"repeat", "answer_first", "backwards", "quoted"}
    assert json.loads((results / "judge/agreement_zh.json").read_text())["rows"] == 5 * 6
    text = (results / "tables/judge_zh.md").read_text()
    assert "tiny-judge and small-judge" in text
    assert "Stand-ins judged" in text
    again = demo.outcome("-n", targets=["results/tables/judge_zh.md"])
    assert "Nothing to be done" in again
