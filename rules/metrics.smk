# The evaluation report of a cell: every metric, its interval and its coverage. One job a cell, or a language.


rule evaluate_predictions:
    input:
        records="results/splits/{lang}/test.parquet",
        predictions="results/predictions/{lang}_{method}_{model}/test.jsonl",
        generation="results/predictions/{lang}_{method}_{model}/test.manifest.json",
        references=scored("results/references/{lang}/{scorer}/bucket_references.json"),
        human_features=scored("results/features/{lang}/{scorer}/human_test.parquet"),
        prediction_features=scored(
            "results/features/{lang}/{scorer}/{lang}_{method}_{model}_test.parquet"
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
    priority: PRIORITY
    conda:
        conda_file("eval")
    threads: 2
    resources:
        mem_mb=growing(16000),
        runtime=growing(120),
    params:
        settings=CFG.metrics.settings(),
        seed=seed_of,
        seed_of=original_of,
        code=code_digest("evaluate_predictions"),
        environment=environment_digest("eval"),
    script:
        "../workflow_scripts/evaluate_predictions.py"


# The reports of all cells of a language, for reports that take longer to start than to make.
if CFG.metrics.job == "language":

    use rule evaluate_predictions as evaluate_language with:
        input:
            records="results/splits/{lang}/test.parquet",
            predictions=each("results/predictions/{lang}_{method}_{model}/test.jsonl"),
            generation=each("results/predictions/{lang}_{method}_{model}/test.manifest.json"),
            references=each("results/references/{lang}/{scorer}/bucket_references.json"),
            human_features=each("results/features/{lang}/{scorer}/human_test.parquet"),
            prediction_features=each(
                "results/features/{lang}/{scorer}/{lang}_{method}_{model}_test.parquet"
            ),
            mauve_model=mauve_model,
        output:
            report=each("results/metrics/{lang}_{method}_{model}.json"),
            replicates=each("results/metrics/{lang}_{method}_{model}_bootstrap.parquet"),
            manifest=each("results/metrics/{lang}_{method}_{model}.manifest.json"),
        log:
            "logs/evaluate_language/{lang}.log",
        benchmark:
            "benchmarks/evaluate_language/{lang}.tsv"
        params:
            parts=GRID_PARTS,
            settings=CFG.metrics.settings(),
            seed=for_each(seed_of),
            seed_of=for_each(original_of),
            code=code_digest("evaluate_predictions"),
            environment=environment_digest("eval"),

    ruleorder: evaluate_language > evaluate_predictions


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
