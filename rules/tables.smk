# Tables and figures of the methods of a language, from the reports of its cells.


rule build_tables:
    input:
        reports=language_reports,
        replicates=language_replicates,
        compared=compared_files,
    output:
        main=report(
            "results/tables/main_{lang}.html",
            caption="../resources/captions/main.rst",
            category="Tables",
            labels={"table": "All methods", "language": "{lang}"},
        ),
        datasets=report(
            "results/tables/datasets_{lang}.html",
            caption="../resources/captions/datasets.rst",
            category="Tables",
            labels={"table": "By dataset", "language": "{lang}"},
        ),
        buckets=report(
            "results/tables/buckets_{lang}.html",
            caption="../resources/captions/buckets.rst",
            category="Tables",
            labels={"table": "By bucket", "language": "{lang}"},
        ),
        ablation=report(
            "results/tables/ablation_{lang}.html",
            caption="../resources/captions/ablation.rst",
            category="Tables",
            labels={"table": "Published against corrected", "language": "{lang}"},
        ),
        published=report(
            "results/tables/published_{lang}.html",
            caption="../resources/captions/published.rst",
            category="Tables",
            labels={"table": "Published figures", "language": "{lang}"},
        ),
        methods_figure=report(
            "results/tables/main_{lang}.png",
            caption="../resources/captions/main.rst",
            category="Figures",
            labels={"figure": "All methods", "language": "{lang}"},
        ),
        frontier_figure=report(
            "results/tables/frontier_{lang}.png",
            caption="../resources/captions/frontier.rst",
            category="Figures",
            labels={"figure": "Utility against naturalness", "language": "{lang}"},
        ),
        buckets_figure=report(
            "results/tables/buckets_{lang}.png",
            caption="../resources/captions/buckets.rst",
            category="Figures",
            labels={"figure": "By bucket", "language": "{lang}"},
        ),
        contributions_figure=report(
            "results/tables/contributions_{lang}.png",
            caption="../resources/captions/contributions.rst",
            category="Figures",
            labels={"figure": "What BNG is made of", "language": "{lang}"},
        ),
        vector_figures=expand(
            "results/tables/{figure}_{{lang}}.pdf",
            figure=["main", "frontier", "buckets", "contributions"],
        ),
        texts=expand(
            "results/tables/{page}_{{lang}}.{kind}",
            page=["main", "datasets", "buckets", "published", "ablation"],
            kind=["md", "tex", "csv"],
        ),
        manifest="results/tables/{lang}.manifest.json",
    log:
        "logs/build_tables/{lang}.log",
    benchmark:
        "benchmarks/build_tables/{lang}.tsv"
    conda:
        conda_file("report")
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing(30),
    params:
        models=CFG.grid.models,
        compared=compared_reports,
        published=file_digest("resources/published/metrics.csv"),
        code=code_digest("build_tables"),
        environment=environment_digest("report"),
    script:
        "../workflow_scripts/build_tables.py"


rule build_inventory:
    input:
        raw=inventory_files("resources/raw/{dataset}/manifest.json"),
        formatted=inventory_files("results/formatted/{dataset}/manifest.json"),
        records=inventory_files("results/deduped/{dataset}/{split}.parquet"),
        removed=expand("results/deduped/{lang}_removed.parquet", lang=inventoried_corpora()),
    output:
        md="results/tables/inventory.md",
        html=report(
            "results/tables/inventory.html",
            caption="../resources/captions/inventory.rst",
            category="Tables",
            labels={"table": "Inventory of the corpora", "language": "all"},
        ),
        tex="results/tables/inventory.tex",
        csv="results/tables/inventory.csv",
        png=report(
            "results/tables/inventory.png",
            caption="../resources/captions/inventory.rst",
            category="Figures",
            labels={"figure": "Inventory of the corpora", "language": "all"},
        ),
        pdf="results/tables/inventory.pdf",
        manifest="results/tables/inventory.manifest.json",
    log:
        "logs/build_inventory.log",
    benchmark:
        "benchmarks/build_inventory.tsv"
    conda:
        conda_file("report")
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(30),
    params:
        corpora=inventoried_corpora(),
        licences=registry_values("licence"),
        reasons=registry_values("causes"),
        scope=scope_in_words(),
        published=file_digest("resources/published/inventory.csv"),
        code=code_digest("build_inventory"),
        environment=environment_digest("report"),
    script:
        "../workflow_scripts/build_inventory.py"
