"""The plan: every config resolves to a whole DAG, from nothing, and mistakes end in one clear line."""

import re

import pytest

CHAIN = (
    "format_corpus",
    "find_duplicates",
    "drop_duplicates",
    "merge_splits",
    "fetch_nltk_data",
    "extract_text_features",
    "score_human_features",
    "build_references",
    "train_sft",
    "train_bucketsft",
    "select_pair_rows",
    "generate_predictions",
    "build_pairs",
    "train_critic",
    "score_pairs",
    "train_hdpo",
    "score_prediction_features",
    "evaluate_predictions",
)


APART = {"score_human_features", "score_prediction_features", "generate_predictions", "evaluate_predictions"}
"""Rules whose work the demo's jobs of a language do."""
A_CELL_A_JOB = ("features={job: cell}", "inference={job: cell}", "metrics={job: cell}")


def planned_rules(output: str) -> dict[str, int]:
    """{rule: jobs} of a dry-run's job table."""
    table = output.split("Job stats:")[1]
    return {name: int(count) for name, count in re.findall(r"^(\w+) +(\d+)$", table, flags=re.MULTILINE)}


@pytest.fixture(scope="module")
def paper(snakemake, tmp_path_factory) -> dict[str, int]:
    """{rule: jobs} of everything that the paper asks for, from nothing: one dry-run for several tests."""
    targets = ("tables", "detection", "embeddings", "judge")
    done = snakemake("-n", "--directory", tmp_path_factory.mktemp("paper"), *targets)
    assert done.returncode == 0, done.stderr
    return planned_rules(done.stdout + done.stderr)


@pytest.fixture(scope="module")
def demo(snakemake, tmp_path_factory) -> dict[str, int]:
    """{rule: jobs} of everything that the demo asks for, from nothing."""
    targets = ("tables", "detection", "embeddings", "judge")
    options = ("--directory", tmp_path_factory.mktemp("demo"), "--configfile", "config/demo.yaml")
    done = snakemake("-n", *options, "--", *targets)
    assert done.returncode == 0, done.stderr
    return planned_rules(done.stdout + done.stderr)


def test_lint_finds_nothing(snakemake, tmp_path):
    done = snakemake("--lint", "--directory", tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_one_cell_of_the_paper_resolves_from_nothing(snakemake, tmp_path):
    done = snakemake("-n", "--directory", tmp_path, "results/metrics/en_hdpo_llama3b.json")
    assert done.returncode == 0, done.stderr
    jobs = planned_rules(done.stdout + done.stderr)
    assert set(CHAIN) <= set(jobs)
    assert jobs["fetch_source"] == 8
    assert jobs["fetch_model"] == 1
    assert "train_dpo" not in jobs


def test_the_tables_of_the_paper_resolve_from_nothing(paper):
    assert paper["evaluate_predictions"] == 2 * 4 * 6
    assert paper["audit_reports"] == 1
    assert paper["train_hdpo"] == paper["train_dpo"] == 2 * 4
    assert paper["fetch_source"] == 14
    assert paper["build_inventory"] == 1
    # Four base models, seven of the detectors, the encoder and three judges.
    assert paper["fetch_model"] == 4 + 7 + 1 + 3


def test_published_recipes_resolve_and_another_run_joins_the_tables(snakemake, tmp_path):
    """The two commands of docs/tables.md, Published against corrected recipes."""
    paper = snakemake(
        "-n", "--directory", tmp_path, "--configfile", "config/tables/paper.yaml", "--", "metrics"
    )
    assert paper.returncode == 0, paper.stderr
    assert planned_rules(paper.stdout + paper.stderr)["evaluate_predictions"] == 2 * 4 * 6
    metrics = tmp_path / "other/results/metrics"
    metrics.mkdir(parents=True)
    for name in ("en_sft_llama3b.json", "en_sft_llama3b_bootstrap.parquet", "en_sft_mine.json"):
        (metrics / name).touch()
    compare = f"tables={{compare: {{published recipes: {tmp_path / 'other'}}}}}"
    done = snakemake("-n", "--directory", tmp_path, "--config", compare, "--", "results/tables/main_en.html")
    assert done.returncode == 0, done.stderr
    inputs = [line for line in done.stdout.splitlines() if "results/tables" not in line and "other/" in line]
    assert inputs
    assert all("other/results/metrics/en_sft_llama3b.json" in line for line in inputs)
    assert not any("en_sft_mine" in line for line in inputs)


def test_features_are_made_in_shards_and_joined(snakemake, tmp_path):
    target = "results/metrics/zh_sft_tiny.json"
    demo = ("-n", "--directory", tmp_path, "--configfile", "config/demo.yaml", "--config", *A_CELL_A_JOB)
    whole = planned_rules(snakemake(*demo, "--", target).stdout)
    done = snakemake(*demo, "features={job: cell, shards: 3}", "--", target)
    assert done.returncode == 0, done.stderr
    jobs = planned_rules(done.stdout + done.stderr)
    for rule in ("extract_text_features", "score_human_features", "score_prediction_features"):
        assert jobs[rule] == 3 * whole[rule], rule
    assert jobs["gather_features"] == whole["score_human_features"] + whole["score_prediction_features"]
    assert "gather_features" not in whole


def test_a_further_seed_doubles_training_and_shares_the_rest(snakemake, tmp_path, demo):
    options = ["-n", "--directory", tmp_path, "--configfile", "config/demo.yaml"]
    plan = snakemake(*options, "--config", "seeds=[42, 43]", "--", "tables")
    assert plan.returncode == 0, plan.stderr
    two = planned_rules(plan.stdout + plan.stderr)
    apart = {
        *("train_sft", "train_bucketsft", "train_dpo", "train_hdpo", "build_pairs", "train_critic"),
        *("score_pairs", "generate_pair_answers", "score_pair_features"),
    }
    # Jobs of a language make the cells of the first seed; those of a further one have jobs of their own.
    texts = "extract_prediction_text_features"
    assert {name: count for name, count in two.items() if count != demo.get(name)} == {
        **{name: 2 * demo[name] for name in apart},
        **dict.fromkeys(APART - {"score_human_features"}, 2 * 5),
        texts: 2 * demo[texts] + 2 * 5,
        "total": two["total"],
    }
    # Shared: base models, human features, references and the rows of pairs.
    assert {"build_tiny_model", "score_all_human_features", "build_references"} <= set(two)
    assert "results/metrics/en_hdpo_tiny-s43.json" in plan.stdout


def test_the_demo_answers_measures_and_evaluates_a_language_at_a_time(demo, paper):
    together = {
        *("score_all_human_features", "generate_pair_answers", "score_pair_features"),
        *("generate_language", "extract_language_text_features", "score_language_features"),
        "evaluate_language",
    }
    assert all(demo[rule] == 2 for rule in together)
    assert not APART & set(demo)
    assert not together & set(paper)


def test_the_detectors_resolve_from_nothing(paper):
    assert paper["detect_texts"] == 4 * 2 * 4 * 6
    assert paper["detect_human_texts"] == 4 * 2
    assert paper["summarize_detection"] == 2
    assert not {"build_stand_ins", "detect_language"} & set(paper)


def test_the_demo_detects_a_language_at_a_time(demo):
    assert demo["detect_language"] == demo["build_stand_ins"] == demo["summarize_detection"] == 2
    assert not {"detect_texts", "detect_human_texts"} & set(demo)


def test_the_embeddings_resolve_from_nothing(paper):
    assert paper["embed_texts"] == 2 * 4 * 6
    assert paper["embed_human_texts"] == paper["compare_embeddings"] == 2
    assert paper["draw_embeddings"] == 2 * 4
    assert "embed_language" not in paper


def test_the_demo_embeds_a_language_at_a_time(demo):
    assert demo["embed_language"] == demo["compare_embeddings"] == demo["draw_embeddings"] == 2
    assert not {"embed_texts", "embed_human_texts", "fetch_model"} & set(demo)


def test_a_missing_encoder_is_one_line(snakemake, tmp_path):
    options = ["-n", "--directory", tmp_path, "--configfile", "config/demo.yaml"]
    none = snakemake(*options, "--config", "embeddings={encoder: null}", "--", "embeddings")
    assert none.returncode == 2
    assert "embeddings.encoder" in none.stderr
    assert "Traceback" not in none.stderr


def test_the_judges_resolve_from_nothing(paper):
    assert paper["judge_predictions"] == 3 * 2 * 4 * 6
    assert paper["summarize_judge"] == 2
    assert not {"build_stand_ins", "judge_language", "judge_shard"} & set(paper)


def test_the_demo_judges_a_language_at_a_time(demo):
    assert demo["judge_language"] == demo["build_stand_ins"] == demo["summarize_judge"] == 2
    assert "judge_predictions" not in demo


def test_the_demo_detects_and_judges_an_oracle_by_name(snakemake, tmp_path):
    demo = ["-n", "--directory", tmp_path, "--configfile", "config/demo.yaml", "--"]
    cell = "en_hdporef_tiny.jsonl"
    done = snakemake(*demo, f"results/detection/radar/{cell}", f"results/judge/tiny-judge/{cell}")
    assert done.returncode == 0, done.stderr
    jobs = planned_rules(done.stdout + done.stderr)
    assert jobs["detect_texts"] == jobs["judge_predictions"] == 1
    assert not {"detect_human_texts", "detect_language", "judge_language"} & set(jobs)


def test_the_demo_judges_in_shards_where_asked_to(snakemake, tmp_path):
    demo = ["-n", "--directory", tmp_path, "--configfile", "config/demo.yaml"]
    targets = ["--", "judge", "results/judge/tiny-judge/en_hdporef_tiny.jsonl"]
    shards = snakemake(*demo, "--config", "judges={job: cell, shards: 3}", *targets)
    assert shards.returncode == 0, shards.stderr
    jobs = planned_rules(shards.stdout + shards.stderr)
    assert jobs["gather_judgements"] == 2 * 2 * 5 + 1
    assert jobs["judge_shard"] == 3 * jobs["gather_judgements"]
    assert not {"judge_language", "judge_predictions"} & set(jobs)


VLLM_ON_TWO = "vllm: {tensor_parallel: 2}"
ELSEWHERE = "engine: openai, openai: {base_url: 'http://localhost:1/v1'}"


@pytest.mark.parametrize(
    "inference, judges, gpus",
    [
        ("vllm: {tensor_parallel: 2, data_parallel: 2}", f"engine: {{engine: vllm, {VLLM_ON_TWO}}}", (4, 2)),
        ("engine: transformers", f"engine: {{{ELSEWHERE}}}", (1, 0)),
        (f"engine: openai, openai: {{serve: vllm}}, {VLLM_ON_TWO}", "rows: 100", (2, 2)),
        (ELSEWHERE, "rows: 100", (0, 0)),
    ],
)
def test_a_job_asks_for_the_gpus_of_its_own_engine(snakemake, tmp_path, inference, judges, gpus):
    """Of inference, and of a judge, whose engine is that of inference where it has none of its own."""
    options = ("--config", f"inference={{{inference}}}", f"judges={{{judges}}}")
    target = "results/judge/qwen3-8b/en_base_llama3b.jsonl"
    done = snakemake("-n", "--directory", tmp_path, *options, "--", target)
    assert done.returncode == 0, done.stderr
    said = done.stdout + done.stderr
    for rule, wanted in zip(("generate_predictions", "judge_predictions"), gpus, strict=True):
        job = said.split(f"rule {rule}:")[1].split("\nrule ")[0]
        assert f"gpu={wanted}," in job, job


def test_methods_outside_the_demo_table_resolve(snakemake, tmp_path):
    cells = [f"results/metrics/zh_{method}_tiny.json" for method in ("cot", "hdporef")]
    done = snakemake("-n", "--directory", tmp_path, "--configfile", "config/demo.yaml", "--", *cells)
    assert done.returncode == 0, done.stderr
    assert planned_rules(done.stdout + done.stderr)["evaluate_predictions"] == 2


def test_shards_are_scattered_and_gathered(snakemake, tmp_path):
    cell = "results/predictions/en_base_tiny/test.jsonl"
    options = ["-n", "--directory", tmp_path, "--configfile", "config/demo.yaml", "--config"]
    done = snakemake(*options, "inference={job: cell, shards: 4}", "--", cell)
    assert done.returncode == 0, done.stderr
    jobs = planned_rules(done.stdout + done.stderr)
    assert (jobs["generate_shard"], jobs["gather_predictions"]) == (4, 1)
    assert "generate_predictions" not in jobs


def test_an_environment_that_is_not_there_ends_in_one_line(snakemake, tmp_path):
    options = ["-n", "--directory", tmp_path, "--configfile", "config/demo.yaml", "--config"]
    done = snakemake(*options, "environments={infer: .venv-nowhere}", "--", "tables")
    assert done.returncode == 2
    (line,) = [line for line in done.stderr.splitlines() if ".venv-nowhere" in line]
    assert "no Python environment here" in line
    assert "Traceback" not in done.stderr


def test_human_evaluation_resolves_and_summarizes_where_there_are_exports(snakemake, tmp_path):
    exports = tmp_path / "results/human_eval/zh/exports"
    exports.mkdir(parents=True)
    (exports / "ana.json").touch()
    options = ["--directory", tmp_path, "--configfile", "config/demo.yaml"]
    done = snakemake("-n", *options, "--", "human_eval")
    assert done.returncode == 0, done.stderr
    jobs = planned_rules(done.stdout + done.stderr)
    assert (jobs["build_human_eval"], jobs["summarize_human_eval"]) == (2, 1)
    # Ratings are compared with what judges say of the same systems.
    assert jobs["summarize_judge"] == 1
    one = snakemake(
        "-n", *options, "--config", *A_CELL_A_JOB, "human_eval={modes: [single], methods: [sft, hdpo]}", "--",
        "results/human_eval/en/site/single.html",
    )  # fmt: skip
    assert one.returncode == 0, one.stderr
    assert planned_rules(one.stdout + one.stderr)["build_human_eval"] == 1
    assert "dpo_tiny/test.jsonl" not in one.stdout.replace("hdpo_tiny", "")
    wrong = snakemake("-n", *options, "--config", "human_eval={methods: [hdporef]}", "--", "human_eval")
    assert wrong.returncode == 2
    assert "human_eval.methods" in wrong.stderr
    assert "Traceback" not in wrong.stderr


def test_a_bare_profile_name_finds_the_slurm_profile(snakemake, root, tmp_path):
    """`--profile slurm` is looked up in the working directory, hence the link at the root."""
    assert (root / "slurm" / "config.yaml").is_file()
    done = snakemake(
        "--profile", "slurm", "-n", "--directory", tmp_path, "--", "results/metrics/en_hdpo_llama3b.json"
    )
    assert done.returncode == 0, done.stderr


def test_a_misspelt_cell_ends_in_one_line(snakemake, tmp_path):
    done = snakemake(
        "-n", "--directory", tmp_path, "results/metrics/en_hpdo_tiny.json", "--configfile", "config/demo.yaml"
    )
    assert done.returncode == 2
    message = [line for line in done.stderr.splitlines() if "en_hpdo_tiny" in line]
    assert len(message) == 1
    assert "did you mean 'hdpo'" in message[0]
    assert "Traceback" not in done.stderr


def test_every_script_belongs_to_a_rule_and_back(root):
    rules = "\n".join(path.read_text() for path in sorted((root / "rules").glob("*.smk")))
    named = set(re.findall(r"workflow_scripts/(\w+)\.py", rules))
    there = {path.stem for path in (root / "workflow_scripts").glob("*.py")}
    assert named == there
    for name in there:
        assert f'code_digest("{name}")' in rules, f"{name}: its rule carries no digest of its code"


def test_every_rule_states_log_benchmark_manifest_environment_and_resources(root):
    for path in sorted((root / "rules").glob("*.smk")):
        for rule in re.split(r"^(?=(?:use )?rule )", path.read_text(), flags=re.MULTILINE)[1:]:
            name = rule.split(":")[0]
            if "script:" not in rule:
                continue
            stated = ["log:", "benchmark:", "conda:", "manifest="]
            # A retry comes back with more memory and time.
            stated += ["threads:", "mem_mb=growing(", "runtime=growing("]
            for directive in stated:
                assert directive in rule, f"{path.name}, {name}: no {directive}"


def test_the_package_never_imports_snakemake(root):
    for path in (root / "polyalign").rglob("*.py"):
        assert not re.search(r"^\s*(from|import) snakemake", path.read_text(), flags=re.MULTILINE), path


@pytest.mark.parametrize(
    "mode, looked_for, waited_for, validation2",
    [("none", 0, False, True), ("report", 2, False, False), ("remove", 2, True, True)],
)
def test_near_duplicates_and_the_auxiliary_split_are_made_where_asked_for(
    snakemake, tmp_path, mode, looked_for, waited_for, validation2
):
    """Near-duplicates reported: for their own sake; removed: before the corpora are copied."""
    config = tmp_path / "mine.yaml"
    config.write_text(
        f"data: {{near_duplicates: {{mode: {mode}}}, include_validation2: {str(validation2).lower()}}}\n"
    )
    files = ("--configfile", "config/demo.yaml", config)
    done = snakemake("-n", "--directory", tmp_path, *files, "--", "views")
    assert done.returncode == 0, done.stderr
    said = done.stdout + done.stderr
    assert planned_rules(said).get("find_near_duplicates", 0) == looked_for
    copied = [job.split("output:")[0] for job in said.split("rule drop_duplicates:")[1:]]
    assert len(copied) == 12
    assert all(("_near.parquet" in inputs) == waited_for for inputs in copied)
    for name in ("splits/en/validation2.parquet", "views/en/current/validation2.jsonl"):
        assert (f"results/{name}" in said) == validation2
