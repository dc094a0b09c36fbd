# Judges: every system's answers graded by a rubric, one job a judge and cell, or a language, or in shards; summaries.


# One judge on one cell; the oracle, which stands in no table, is judged this way when it is asked for by name.
if CFG.judges.shards == 1:

    rule judge_predictions:
        input:
            records="results/splits/{lang}/test.parquet",
            predictions="results/predictions/{lang}_{method}_{model}/test.jsonl",
            model=judge_model,
        output:
            judgements="results/judge/{judge}/{lang}_{method}_{model}.jsonl",
            probes="results/judge/{judge}/{lang}_{method}_{model}.probes.jsonl",
            manifest="results/judge/{judge}/{lang}_{method}_{model}.manifest.json",
        log:
            "logs/judge_predictions/{judge}_{lang}_{method}_{model}.log",
        benchmark:
            "benchmarks/judge_predictions/{judge}_{lang}_{method}_{model}.tsv"
        wildcard_constraints:
            judge=one_of(CFG.models),
        conda:
            conda_file("infer")
        threads: 4
        resources:
            gpu=CFG.judging_gpus,
            mem_mb=growing(64000),
            runtime=growing(720),
        params:
            folders=judge_folders,
            settings=CFG.judges.asking(),
            seed=CFG.seed,
            rubric=file_digest("resources/judge/rubric.yaml"),
            code=code_digest("judge_predictions"),
            environment=environment_digest("infer"),
        script:
            "../workflow_scripts/judge_predictions.py"

else:

    scattergather:
        judgements=CFG.judges.shards,

    rule judge_shard:
        input:
            records="results/splits/{lang}/test.parquet",
            predictions="results/predictions/{lang}_{method}_{model}/test.jsonl",
            model=judge_model,
        output:
            judgements="results/judge/{judge}/shards/{lang}_{method}_{model}_{scatteritem}.jsonl",
            probes="results/judge/{judge}/shards/{lang}_{method}_{model}_{scatteritem}.probes.jsonl",
            manifest="results/judge/{judge}/shards/{lang}_{method}_{model}_{scatteritem}.manifest.json",
        log:
            "logs/judge_shard/{judge}_{lang}_{method}_{model}_{scatteritem}.log",
        benchmark:
            "benchmarks/judge_shard/{judge}_{lang}_{method}_{model}_{scatteritem}.tsv"
        wildcard_constraints:
            judge=one_of(CFG.models),
        conda:
            conda_file("infer")
        threads: 4
        resources:
            gpu=CFG.judging_gpus,
            mem_mb=growing(64000),
            runtime=growing(720),
        params:
            folders=judge_folders,
            settings=CFG.judges.asking(),
            seed=CFG.seed,
            rubric=file_digest("resources/judge/rubric.yaml"),
            code=code_digest("judge_shard"),
            environment=environment_digest("infer"),
        script:
            "../workflow_scripts/judge_shard.py"

    rule gather_judgements:
        input:
            records="results/splits/{lang}/test.parquet",
            judgements=gather.judgements(
                "results/judge/{{judge}}/shards/{{lang}}_{{method}}_{{model}}_{scatteritem}.jsonl"
            ),
            probes=gather.judgements(
                "results/judge/{{judge}}/shards/{{lang}}_{{method}}_{{model}}_{scatteritem}.probes.jsonl"
            ),
            shards=gather.judgements(
                "results/judge/{{judge}}/shards/{{lang}}_{{method}}_{{model}}_{scatteritem}.manifest.json"
            ),
        output:
            judgements="results/judge/{judge}/{lang}_{method}_{model}.jsonl",
            probes="results/judge/{judge}/{lang}_{method}_{model}.probes.jsonl",
            manifest="results/judge/{judge}/{lang}_{method}_{model}.manifest.json",
        log:
            "logs/gather_judgements/{judge}_{lang}_{method}_{model}.log",
        benchmark:
            "benchmarks/gather_judgements/{judge}_{lang}_{method}_{model}.tsv"
        wildcard_constraints:
            judge=one_of(CFG.models),
        conda:
            conda_file("infer")
        threads: 1
        resources:
            mem_mb=growing(8000),
            runtime=growing(60),
        params:
            rows=CFG.judges.rows,
            seed=CFG.seed,
            code=code_digest("gather_judgements"),
            environment=environment_digest("infer"),
        script:
            "../workflow_scripts/gather_judgements.py"


# All judges on all cells of a language in one job, for models that take longer to load than to run.
rule judge_language:
    input:
        records="results/splits/{lang}/test.parquet",
        predictions=predictions_of_language,
        models=judge_models,
    output:
        judgements=expand(
            "results/judge/{judge}/{{lang}}_{method}_{model}.jsonl",
            judge=CFG.judges.run,
            model=CFG.grid.models,
            method=CFG.grid.methods,
        ),
        probes=expand(
            "results/judge/{judge}/{{lang}}_{method}_{model}.probes.jsonl",
            judge=CFG.judges.run,
            model=CFG.grid.models,
            method=CFG.grid.methods,
        ),
        manifest="results/judge/{lang}.manifest.json",
    log:
        "logs/judge_language/{lang}.log",
    benchmark:
        "benchmarks/judge_language/{lang}.tsv"
    conda:
        conda_file("infer")
    threads: 1
    resources:
        gpu=CFG.judging_gpus,
        mem_mb=growing(8000),
        runtime=growing(120),
    params:
        folders=judge_folders,
        cells=cells_of_language,
        settings=CFG.judges.asking(),
        seed=CFG.seed,
        rubric=file_digest("resources/judge/rubric.yaml"),
        code=code_digest("judge_language"),
        environment=environment_digest("infer"),
    script:
        "../workflow_scripts/judge_language.py"


# All make the same files; the configuration says which of them does.
if CFG.judges.job == "language":

    ruleorder: judge_language > judge_predictions

elif CFG.judges.shards == 1:

    ruleorder: judge_predictions > judge_language

else:

    ruleorder: gather_judgements > judge_language


rule summarize_judge:
    input:
        judgements=expand(
            "results/judge/{judge}/{{lang}}_{method}_{model}.jsonl",
            judge=CFG.judges.run,
            model=CFG.grid.models,
            method=CFG.grid.methods,
        ),
        probes=expand(
            "results/judge/{judge}/{{lang}}_{method}_{model}.probes.jsonl",
            judge=CFG.judges.run,
            model=CFG.grid.models,
            method=CFG.grid.methods,
        ),
    output:
        summaries=expand("results/judge/{judge}/summary_{{lang}}.json", judge=CFG.judges.run),
        agreement="results/judge/agreement_{lang}.json",
        page=report(
            "results/tables/judge_{lang}.html",
            caption="../resources/captions/judge.rst",
            category="Tables",
            labels={"table": "Judges", "language": "{lang}"},
        ),
        figure=report(
            "results/tables/judge_{lang}.png",
            caption="../resources/captions/judge.rst",
            category="Figures",
            labels={"figure": "Judges", "language": "{lang}"},
        ),
        others=expand("results/tables/judge_{{lang}}.{kind}", kind=["md", "tex", "csv", "pdf"]),
        manifest="results/judge/summary_{lang}.manifest.json",
    log:
        "logs/summarize_judge/{lang}.log",
    benchmark:
        "benchmarks/summarize_judge/{lang}.tsv"
    conda:
        conda_file("report")
    threads: 1
    resources:
        mem_mb=growing(8000),
        runtime=growing(60),
    params:
        judges=CFG.judges.run,
        cells=cells_of_language,
        models=CFG.grid.models,
        stand_ins=[name for name in CFG.judges.run if name in STAND_INS],
        settings=CFG.judges.statistics(),
        seed=CFG.seed,
        rubric=file_digest("resources/judge/rubric.yaml"),
        published=file_digest("resources/published/judge.csv"),
        code=code_digest("summarize_judge"),
        environment=environment_digest("report"),
    script:
        "../workflow_scripts/summarize_judge.py"
