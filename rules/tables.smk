# Tables and figures of the methods of a language, from the reports of its cells.


rule build_main_table:
    input:
        reports=expand(
            "results/metrics/{{lang}}_{method}_{model}.json",
            model=CFG.grid.models,
            method=CFG.grid.methods,
        ),
        replicates=expand(
            "results/metrics/{{lang}}_{method}_{model}_bootstrap.parquet",
            model=CFG.grid.models,
            method=CFG.grid.methods,
        ),
    output:
        md="results/tables/main_{lang}.md",
        html="results/tables/main_{lang}.html",
        tex="results/tables/main_{lang}.tex",
        csv="results/tables/main_{lang}.csv",
        png="results/tables/main_{lang}.png",
        pdf="results/tables/main_{lang}.pdf",
        manifest="results/tables/main_{lang}.manifest.json",
    log:
        "logs/build_main_table/{lang}.log",
    benchmark:
        "benchmarks/build_main_table/{lang}.tsv"
    conda:
        "../envs/eval.yaml"
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing(30),
    params:
        models=CFG.grid.models,
        code=code_digest("build_main_table"),
    script:
        "../workflow_scripts/build_main_table.py"
