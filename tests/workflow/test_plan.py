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


def planned_rules(output: str) -> dict[str, int]:
    """{rule: jobs} of a dry-run's job table."""
    table = output.split("Job stats:")[1]
    return {name: int(count) for name, count in re.findall(r"^(\w+) +(\d+)$", table, flags=re.MULTILINE)}


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


def test_the_tables_of_the_paper_resolve_from_nothing(snakemake, tmp_path):
    done = snakemake("-n", "--directory", tmp_path, "tables")
    assert done.returncode == 0, done.stderr
    jobs = planned_rules(done.stdout + done.stderr)
    assert jobs["evaluate_predictions"] == 2 * 4 * 6
    assert jobs["audit_reports"] == 1
    assert jobs["train_hdpo"] == jobs["train_dpo"] == 2 * 4
    assert jobs["fetch_source"] == 14
    assert jobs["build_inventory"] == 1


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
    demo = ("-n", "--directory", tmp_path, "--configfile", "config/demo.yaml")
    whole = planned_rules(snakemake(*demo, "--", target).stdout)
    done = snakemake(*demo, "--config", "features={shards: 3}", "--", target)
    assert done.returncode == 0, done.stderr
    jobs = planned_rules(done.stdout + done.stderr)
    for rule in ("extract_text_features", "score_human_features", "score_prediction_features"):
        assert jobs[rule] == 3 * whole[rule], rule
    assert jobs["gather_features"] == whole["score_human_features"] + whole["score_prediction_features"]
    assert "gather_features" not in whole


def test_a_further_seed_doubles_training_and_shares_the_rest(snakemake, tmp_path):
    options = ["-n", "--directory", tmp_path, "--configfile", "config/demo.yaml"]
    plans = [
        snakemake(*options, "--config", f"seeds={seeds}", "--", "tables") for seeds in ("[42]", "[42, 43]")
    ]
    assert [plan.returncode for plan in plans] == [0, 0], plans[1].stderr
    one, two = (planned_rules(plan.stdout + plan.stderr) for plan in plans)
    apart = {
        *("train_sft", "train_bucketsft", "train_dpo", "train_hdpo", "build_pairs", "train_critic"),
        *("score_pairs", "generate_predictions", "extract_prediction_text_features"),
        *("score_prediction_features", "evaluate_predictions"),
    }
    assert apart < set(one)
    assert {name: count for name, count in two.items() if count != one[name]} == {
        **{name: 2 * one[name] for name in apart},
        "total": two["total"],
    }
    # Shared: base models, human features, references and the rows of pairs.
    assert {"build_tiny_model", "score_human_features", "build_references", "select_pair_rows"} <= set(one)
    assert "results/metrics/en_hdpo_tiny-s43.json" in plans[1].stdout


def test_the_detectors_resolve_from_nothing(snakemake, tmp_path):
    done = snakemake("-n", "--directory", tmp_path, "detection")
    assert done.returncode == 0, done.stderr
    jobs = planned_rules(done.stdout + done.stderr)
    assert jobs["detect_texts"] == 4 * 2 * 4 * 6
    assert jobs["detect_human_texts"] == 4 * 2
    assert jobs["summarize_detection"] == 2
    # Four base models and the seven of the detectors.
    assert jobs["fetch_model"] == 4 + 7
    assert not {"build_stand_ins", "detect_language"} & set(jobs)


def test_the_demo_detects_a_language_at_a_time_and_an_oracle_by_name(snakemake, tmp_path):
    demo = ["-n", "--directory", tmp_path, "--configfile", "config/demo.yaml", "--"]
    done = snakemake(*demo, "detection", "results/detection/radar/en_hdporef_tiny.jsonl")
    assert done.returncode == 0, done.stderr
    jobs = planned_rules(done.stdout + done.stderr)
    assert jobs["detect_language"] == jobs["build_stand_ins"] == jobs["summarize_detection"] == 2
    assert jobs["detect_texts"] == 1
    assert "detect_human_texts" not in jobs


def test_the_embeddings_resolve_from_nothing(snakemake, tmp_path):
    done = snakemake("-n", "--directory", tmp_path, "embeddings")
    assert done.returncode == 0, done.stderr
    jobs = planned_rules(done.stdout + done.stderr)
    assert jobs["embed_texts"] == 2 * 4 * 6
    assert jobs["embed_human_texts"] == jobs["compare_embeddings"] == 2
    assert jobs["draw_embeddings"] == 2 * 4
    # Four base models and the encoder.
    assert jobs["fetch_model"] == 4 + 1
    assert "embed_language" not in jobs


def test_the_demo_embeds_a_language_at_a_time_and_a_missing_encoder_is_one_line(snakemake, tmp_path):
    demo = ["-n", "--directory", tmp_path, "--configfile", "config/demo.yaml"]
    done = snakemake(*demo, "--", "embeddings")
    assert done.returncode == 0, done.stderr
    jobs = planned_rules(done.stdout + done.stderr)
    assert jobs["embed_language"] == jobs["compare_embeddings"] == jobs["draw_embeddings"] == 2
    assert not {"embed_texts", "embed_human_texts", "fetch_model"} & set(jobs)
    none = snakemake(*demo, "--config", "embeddings={encoder: null}", "--", "embeddings")
    assert none.returncode == 2
    assert "embeddings.encoder" in none.stderr
    assert "Traceback" not in none.stderr


def test_the_judges_resolve_from_nothing(snakemake, tmp_path):
    done = snakemake("-n", "--directory", tmp_path, "judge")
    assert done.returncode == 0, done.stderr
    jobs = planned_rules(done.stdout + done.stderr)
    assert jobs["judge_predictions"] == 3 * 2 * 4 * 6
    assert jobs["summarize_judge"] == 2
    # Four base models and three judges.
    assert jobs["fetch_model"] == 4 + 3
    assert not {"build_stand_ins", "judge_language", "judge_shard"} & set(jobs)


def test_the_demo_judges_a_language_at_a_time_or_in_shards_and_an_oracle_by_name(snakemake, tmp_path):
    demo = ["-n", "--directory", tmp_path, "--configfile", "config/demo.yaml"]
    targets = ["--", "judge", "results/judge/tiny-judge/en_hdporef_tiny.jsonl"]
    done = snakemake(*demo, *targets)
    assert done.returncode == 0, done.stderr
    jobs = planned_rules(done.stdout + done.stderr)
    assert jobs["judge_language"] == jobs["build_stand_ins"] == jobs["summarize_judge"] == 2
    assert jobs["judge_predictions"] == 1
    shards = snakemake(*demo, "--config", "judges={job: cell, shards: 3}", *targets)
    assert shards.returncode == 0, shards.stderr
    jobs = planned_rules(shards.stdout + shards.stderr)
    assert jobs["gather_judgements"] == 2 * 2 * 5 + 1
    assert jobs["judge_shard"] == 3 * jobs["gather_judgements"]
    assert not {"judge_language", "judge_predictions"} & set(jobs)


def test_a_job_of_a_judge_asks_for_the_gpus_of_its_own_engine(snakemake, tmp_path):
    target = "results/judge/qwen3-8b/en_base_llama3b.jsonl"
    for judges, gpus in (
        ("{engine: {engine: vllm, vllm: {tensor_parallel: 2}}}", 2),
        ("{engine: {engine: openai, openai: {base_url: 'http://localhost:1/v1'}}}", 0),
        ("{rows: 100}", 1),
    ):
        done = snakemake("-n", "--directory", tmp_path, "--config", f"judges={judges}", "--", target)
        assert done.returncode == 0, done.stderr
        job = (done.stdout + done.stderr).split("rule judge_predictions:")[1].split("Job stats")[0]
        assert f"gpu={gpus}," in job, job


@pytest.mark.parametrize("method", ["cot", "hdporef"])
def test_methods_outside_the_demo_table_resolve(snakemake, tmp_path, method):
    done = snakemake(
        "-n",
        "--directory",
        tmp_path,
        "--configfile",
        "config/demo.yaml",
        "--",
        f"results/metrics/zh_{method}_tiny.json",
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("wanted", [True, False])
def test_the_auxiliary_split_is_made_where_it_is_asked_for(snakemake, tmp_path, wanted):
    options = ["--config", f"data={{include_validation2: {str(wanted).lower()}}}"]
    done = snakemake("-n", "--directory", tmp_path, *options, "--", "views")
    assert done.returncode == 0, done.stderr
    for name in ("splits/en/validation2.parquet", "views/en/current/validation2.jsonl"):
        assert (f"results/{name}" in done.stdout) == wanted


def test_shards_are_scattered_and_gathered(snakemake, tmp_path):
    cell = "results/predictions/en_base_tiny/test.jsonl"
    options = ["-n", "--directory", tmp_path, "--configfile", "config/demo.yaml", "--config"]
    done = snakemake(*options, "inference={shards: 4}", "--", cell)
    assert done.returncode == 0, done.stderr
    jobs = planned_rules(done.stdout + done.stderr)
    assert (jobs["generate_shard"], jobs["gather_predictions"]) == (4, 1)
    assert "generate_predictions" not in jobs


def test_a_job_of_inference_asks_for_the_gpus_of_its_engine(snakemake, tmp_path):
    cell = "results/predictions/en_base_llama3b/test.jsonl"
    for inference, gpus in (
        ("{vllm: {tensor_parallel: 2, data_parallel: 2}}", 4),
        ("{engine: transformers}", 1),
        ("{engine: openai, openai: {serve: vllm}, vllm: {tensor_parallel: 2}}", 2),
        ("{engine: openai, openai: {base_url: 'http://localhost:1/v1'}}", 0),
    ):
        done = snakemake("-n", "--directory", tmp_path, "--config", f"inference={inference}", "--", cell)
        assert done.returncode == 0, done.stderr
        job = (done.stdout + done.stderr).split("rule generate_predictions:")[1].split("Job stats")[0]
        assert f"gpu={gpus}," in job, job


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
        "-n", *options, "--config", "human_eval={modes: [single], methods: [sft, hdpo]}", "--",
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


def test_an_unknown_config_key_ends_in_one_line(snakemake, tmp_path):
    config = tmp_path / "mine.yaml"
    config.write_text("pairs:\n  rowz: {train: 10}\n")
    done = snakemake("-n", "--directory", tmp_path, "--configfile", config)
    assert done.returncode == 2
    assert "pairs.rowz: unknown key" in done.stderr.replace("'", "").replace("field ", "")
    assert "did you mean 'rows'" in done.stderr
    assert "Traceback" not in done.stderr


def test_every_script_belongs_to_a_rule_and_back(root):
    rules = "\n".join(path.read_text() for path in sorted((root / "rules").glob("*.smk")))
    named = set(re.findall(r"workflow_scripts/(\w+)\.py", rules))
    there = {path.stem for path in (root / "workflow_scripts").glob("*.py")}
    assert named == there
    for name in there:
        assert f'code_digest("{name}")' in rules, f"{name}: its rule carries no digest of its code"


def test_every_rule_states_log_benchmark_manifest_and_environment(root):
    for path in sorted((root / "rules").glob("*.smk")):
        for rule in re.split(r"^(?=(?:use )?rule )", path.read_text(), flags=re.MULTILINE)[1:]:
            name = rule.split(":")[0]
            if "script:" not in rule:
                continue
            for directive in ("log:", "benchmark:", "conda:", "manifest="):
                assert directive in rule, f"{path.name}, {name}: no {directive}"


def test_the_package_never_imports_snakemake(root):
    for path in (root / "polyalign").rglob("*.py"):
        assert not re.search(r"^\s*(from|import) snakemake", path.read_text(), flags=re.MULTILINE), path


@pytest.mark.parametrize(
    "mode, looked_for, waited_for", [("none", 0, False), ("report", 2, False), ("remove", 2, True)]
)
def test_near_duplicates_are_looked_for_where_asked_for(snakemake, tmp_path, mode, looked_for, waited_for):
    """Reported: for their own sake; removed: before the corpora are copied."""
    config = tmp_path / "mine.yaml"
    config.write_text(f"data: {{near_duplicates: {{mode: {mode}}}}}\n")
    given = ("-n", "--directory", tmp_path, "--configfile", "config/demo.yaml", config, "--")
    done = snakemake(*given, "views")
    assert done.returncode == 0, done.stderr
    assert planned_rules(done.stdout + done.stderr).get("find_near_duplicates", 0) == looked_for
    done = snakemake(*given, "results/splits/en/train.parquet")
    assert ("find_near_duplicates" in planned_rules(done.stdout + done.stderr)) == waited_for
