# Human and model answers as vectors: distances between them, and pictures.


rule embed_texts:
    input:
        records="results/splits/{lang}/test.parquet",
        predictions="results/predictions/{lang}_{method}_{model}/test.jsonl",
        encoder=encoder_model,
    output:
        vectors="results/embeddings/{lang}/vectors/{lang}_{method}_{model}.parquet",
        manifest="results/embeddings/{lang}/vectors/{lang}_{method}_{model}.manifest.json",
    log:
        "logs/embed_texts/{lang}_{method}_{model}.log",
    benchmark:
        "benchmarks/embed_texts/{lang}_{method}_{model}.tsv"
    conda:
        conda_file("eval")
    threads: 4
    resources:
        gpu=min(CFG.gpus, 1),
        mem_mb=growing(16000),
        runtime=growing(120),
    params:
        folder=encoder_folder,
        origin=encoder_origin,
        dtype=encoder_dtype,
        settings=EMBED_SETTINGS,
        cache="work/embeddings",
        seed=CFG.seed,
        code=code_digest("embed_texts"),
        environment=environment_digest("eval"),
    script:
        "../workflow_scripts/embed_texts.py"


use rule embed_texts as embed_human_texts with:
    input:
        records="results/splits/{lang}/test.parquet",
        encoder=encoder_model,
    output:
        vectors="results/embeddings/{lang}/vectors/human.parquet",
        manifest="results/embeddings/{lang}/vectors/human.manifest.json",
    log:
        "logs/embed_human_texts/{lang}.log",
    benchmark:
        "benchmarks/embed_human_texts/{lang}.tsv"


# All answers of a language in one job, for an encoder that takes longer to load than to run.
rule embed_language:
    input:
        records="results/splits/{lang}/test.parquet",
        predictions=predictions_of_language,
        encoder=encoder_model,
    output:
        human="results/embeddings/{lang}/vectors/human.parquet",
        vectors=expand(
            "results/embeddings/{{lang}}/vectors/{{lang}}_{method}_{model}.parquet",
            model=CFG.grid.models,
            method=CFG.grid.methods,
        ),
        manifest="results/embeddings/{lang}/vectors/manifest.json",
    log:
        "logs/embed_language/{lang}.log",
    benchmark:
        "benchmarks/embed_language/{lang}.tsv"
    conda:
        conda_file("eval")
    threads: 4
    resources:
        gpu=min(CFG.gpus, 1),
        mem_mb=growing(16000),
        runtime=growing(240),
    params:
        folder=encoder_folder,
        origin=encoder_origin,
        dtype=encoder_dtype,
        settings=EMBED_SETTINGS,
        cache="work/embeddings",
        seed=CFG.seed,
        code=code_digest("embed_language"),
        environment=environment_digest("eval"),
    script:
        "../workflow_scripts/embed_language.py"


# Both make the same files; the configuration says which of them does.
if CFG.embeddings.job == "language":

    ruleorder: embed_language > embed_texts
    ruleorder: embed_language > embed_human_texts

else:

    ruleorder: embed_texts > embed_language
    ruleorder: embed_human_texts > embed_language


rule compare_embeddings:
    input:
        records="results/splits/{lang}/test.parquet",
        human="results/embeddings/{lang}/vectors/human.parquet",
        vectors=expand(
            "results/embeddings/{{lang}}/vectors/{{lang}}_{method}_{model}.parquet",
            model=CFG.grid.models,
            method=CFG.grid.methods,
        ),
    output:
        summary="results/embeddings/{lang}/summary.json",
        page=report(
            "results/tables/embeddings_{lang}.html",
            caption="../resources/captions/embeddings.rst",
            category="Tables",
            labels={"table": "Answers as vectors", "language": "{lang}"},
        ),
        others=expand("results/tables/embeddings_{{lang}}.{kind}", kind=["md", "tex", "csv"]),
        manifest="results/embeddings/{lang}/summary.manifest.json",
    log:
        "logs/compare_embeddings/{lang}.log",
    benchmark:
        "benchmarks/compare_embeddings/{lang}.tsv"
    conda:
        conda_file("report")
    threads: 1
    resources:
        mem_mb=growing(8000),
        runtime=growing(120),
    params:
        models=CFG.grid.models,
        settings=COMPARE_SETTINGS,
        seed=CFG.seed,
        code=code_digest("compare_embeddings"),
        environment=environment_digest("report"),
    script:
        "../workflow_scripts/compare_embeddings.py"


rule draw_embeddings:
    input:
        records="results/splits/{lang}/test.parquet",
        human="results/embeddings/{lang}/vectors/human.parquet",
        vectors=expand(
            "results/embeddings/{{lang}}/vectors/{{lang}}_{method}_{{model}}.parquet",
            method=CFG.grid.methods,
        ),
        predictions=expand(
            "results/predictions/{{lang}}_{method}_{{model}}/test.jsonl", method=CFG.grid.methods
        ),
        summary="results/embeddings/{lang}/summary.json",
    output:
        png=report(
            "results/embeddings/{lang}/{model}/embeddings.png",
            caption="../resources/captions/embeddings.rst",
            category="Figures",
            labels={"figure": "Answers as vectors, {model}", "language": "{lang}"},
        ),
        pdf="results/embeddings/{lang}/{model}/embeddings.pdf",
        html="results/embeddings/{lang}/{model}/embeddings.html",
        coordinates="results/embeddings/{lang}/{model}/coordinates.parquet",
        manifest="results/embeddings/{lang}/{model}/manifest.json",
    log:
        "logs/draw_embeddings/{lang}_{model}.log",
    benchmark:
        "benchmarks/draw_embeddings/{lang}_{model}.tsv"
    conda:
        conda_file("report")
    threads: 1
    resources:
        mem_mb=growing(8000),
        runtime=growing(60),
    params:
        cells=cells_of_model,
        settings=DRAW_SETTINGS,
        page=embedding_page(),
        seed=CFG.seed,
        code=code_digest("draw_embeddings"),
        environment=environment_digest("report"),
    script:
        "../workflow_scripts/draw_embeddings.py"
