# Base models: downloaded at a revision, or built here from the language's own training text.


rule build_tiny_model:
    input:
        train="results/splits/{lang}/train.parquet",
    output:
        manifest="results/base_models/{lang}_{model}/manifest.json",
    log:
        "logs/build_tiny_model/{lang}_{model}.log",
    benchmark:
        "benchmarks/build_tiny_model/{lang}_{model}.tsv"
    conda:
        conda_file("train")
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing(60),
    params:
        settings=build_of,
        chat_template=chat_template_of,
        seed=CFG.seed,
        code=code_digest("build_tiny_model"),
        environment=environment_digest("train"),
    script:
        "../workflow_scripts/build_tiny_model.py"


# On the submitting machine: compute nodes often have no way out.
rule fetch_model:
    output:
        manifest="resources/models/{model}/manifest.json",
    log:
        "logs/fetch_model/{model}.log",
    benchmark:
        "benchmarks/fetch_model/{model}.tsv"
    localrule: True
    conda:
        conda_file("train")
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing(240),
        downloads=1,
    params:
        repository=hub_of,
        revision=revision_of,
        chat_template=chat_template_of,
        code=code_digest("fetch_model"),
        environment=environment_digest("train"),
    script:
        "../workflow_scripts/fetch_model.py"
