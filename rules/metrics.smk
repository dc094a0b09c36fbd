# The evaluation report of a cell: every metric, its interval and its coverage.


rule evaluate_predictions:
    input:
        records="results/splits/{lang}/test.parquet",
        predictions="results/predictions/{lang}_{method}_{model}/test.jsonl",
        generation="results/predictions/{lang}_{method}_{model}/test.manifest.json",
        references=expand(
            "results/references/{{lang}}/{scorer}/bucket_references.json", scorer=scorer_of
        ),
        human_features=expand(
            "results/features/{{lang}}/{scorer}/human_test.parquet", scorer=scorer_of
        ),
        prediction_features=expand(
            "results/features/{{lang}}/{scorer}/{{lang}}_{{method}}_{{model}}_test.parquet",
            scorer=scorer_of,
        ),
        mauve_model=mauve_model,
    output:
        report="results/metrics/{lang}_{method}_{model}.json",
        replicates="results/metrics/{lang}_{method}_{model}_bootstrap.parquet",
        manifest="results/metrics/{lang}_{method}_{model}.manifest.json",
    log:
        "logs/evaluate_predictions/{lang}_{method}_{model}.log",
    benchmark:
        "benchmarks/evaluate_predictions/{lang}_{method}_{model}.tsv"
    conda:
        conda_file("eval")
    threads: 2
    resources:
        mem_mb=growing(16000),
        runtime=growing(120),
    params:
        settings=CFG.metrics.model_dump(),
        seed=seed_of,
        seed_of=original_of,
        code=code_digest("evaluate_predictions"),
        environment=environment_digest("eval"),
    script:
        "../workflow_scripts/evaluate_predictions.py"


# What to distrust in the reports of the grid, in sentences.
rule audit_reports:
    input:
        reports=grid_metrics(),
    output:
        md="results/tables/audit.md",
        json="results/tables/audit.json",
        manifest="results/tables/audit.manifest.json",
    log:
        "logs/audit_reports/all.log",
    benchmark:
        "benchmarks/audit_reports/all.tsv"
    conda:
        conda_file("report")
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(10),
    params:
        code=code_digest("audit_reports"),
        environment=environment_digest("report"),
    script:
        "../workflow_scripts/audit_reports.py"
