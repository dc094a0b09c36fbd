# Corpora: raw files -> normalized records -> deduplicated records -> merged splits -> views for people and tools.


if CFG.sources.kind == "demo":

    rule generate_source:
        output:
            manifest="resources/raw/{dataset}/manifest.json",
        log:
            "logs/generate_source/{dataset}.log",
        benchmark:
            "benchmarks/generate_source/{dataset}.tsv"
        conda:
            conda_file("data")
        threads: 1
        resources:
            mem_mb=growing(2000),
            runtime=growing(10),
        params:
            rows=CFG.sources.demo.rows,
            seed=CFG.sources.demo.seed,
            code=code_digest("generate_source"),
            environment=environment_digest("data"),
        script:
            "../workflow_scripts/generate_source.py"

elif CFG.sources.kind == "mirror":

    rule mirror_source:
        input:
            files=mirrored_files,
        output:
            manifest="resources/raw/{dataset}/manifest.json",
        log:
            "logs/mirror_source/{dataset}.log",
        benchmark:
            "benchmarks/mirror_source/{dataset}.tsv"
        conda:
            conda_file("data")
        threads: 1
        resources:
            mem_mb=growing(1000),
            runtime=growing(30),
        params:
            mirror=mirror_folder(),
            entry=source_entry,
            sizes=mirrored_sizes,
            code=code_digest("mirror_source"),
            environment=environment_digest("data"),
        script:
            "../workflow_scripts/mirror_source.py"

else:

    # On the submitting machine: compute nodes often have no way out.
    rule fetch_source:
        output:
            manifest="resources/raw/{dataset}/manifest.json",
        log:
            "logs/fetch_source/{dataset}.log",
        benchmark:
            "benchmarks/fetch_source/{dataset}.tsv"
        localrule: True
        conda:
            conda_file("data")
        threads: 1
        resources:
            mem_mb=growing(2000),
            runtime=growing(120),
            downloads=1,
        params:
            entry=source_entry,
            code=code_digest("fetch_source"),
            environment=environment_digest("data"),
        script:
            "../workflow_scripts/fetch_source.py"


rule format_corpus:
    input:
        raw="resources/raw/{dataset}/manifest.json",
    output:
        train="results/formatted/{dataset}/train.parquet",
        dev="results/formatted/{dataset}/dev.parquet",
        test="results/formatted/{dataset}/test.parquet",
        validation2="results/formatted/{dataset}/validation2.parquet",
        manifest="results/formatted/{dataset}/manifest.json",
    log:
        "logs/format_corpus/{dataset}.log",
    benchmark:
        "benchmarks/format_corpus/{dataset}.tsv"
    conda:
        conda_file("data")
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing(60),
    params:
        seed=CFG.data.seed,
        token_rule=CFG.data.token_rule,
        published_quirks=CFG.data.published_quirks,
        code=code_digest("format_corpus"),
        environment=environment_digest("data"),
    script:
        "../workflow_scripts/format_corpus.py"


rule find_duplicates:
    input:
        records=formatted_records,
    output:
        removed="results/deduped/{lang}_removed.parquet",
        report="results/deduped/{lang}_report.json",
        manifest="results/deduped/{lang}_manifest.json",
    log:
        "logs/find_duplicates/{lang}.log",
    benchmark:
        "benchmarks/find_duplicates/{lang}.tsv"
    conda:
        conda_file("data")
    threads: 2
    resources:
        mem_mb=growing(2000),
        runtime=growing(60),
    params:
        code=code_digest("find_duplicates"),
        environment=environment_digest("data"),
    script:
        "../workflow_scripts/find_duplicates.py"


rule find_near_duplicates:
    input:
        records=formatted_records,
        removed=rules.find_duplicates.output.removed,
    output:
        near="results/deduped/{lang}_near.parquet",
        report="results/deduped/{lang}_near_report.json",
        manifest="results/deduped/{lang}_near_manifest.json",
    log:
        "logs/find_near_duplicates/{lang}.log",
    benchmark:
        "benchmarks/find_near_duplicates/{lang}.tsv"
    conda:
        conda_file("data")
    threads: 2
    resources:
        mem_mb=growing(2000),
        runtime=growing(60),
    params:
        settings=CFG.data.near_duplicates.model_dump(),
        code=code_digest("find_near_duplicates"),
        environment=environment_digest("data"),
    script:
        "../workflow_scripts/find_near_duplicates.py"


rule drop_duplicates:
    input:
        train=rules.format_corpus.output.train,
        dev=rules.format_corpus.output.dev,
        test=rules.format_corpus.output.test,
        validation2=rules.format_corpus.output.validation2,
        removed=removed_records,
    output:
        train="results/deduped/{dataset}/train.parquet",
        dev="results/deduped/{dataset}/dev.parquet",
        test="results/deduped/{dataset}/test.parquet",
        validation2="results/deduped/{dataset}/validation2.parquet",
        manifest="results/deduped/{dataset}/manifest.json",
    log:
        "logs/drop_duplicates/{dataset}.log",
    benchmark:
        "benchmarks/drop_duplicates/{dataset}.tsv"
    conda:
        conda_file("data")
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(30),
    params:
        code=code_digest("drop_duplicates"),
        environment=environment_digest("data"),
    script:
        "../workflow_scripts/drop_duplicates.py"


rule report_deduplication:
    input:
        reports=expand("results/deduped/{lang}_report.json", lang=CFG.grid.languages),
    output:
        report="results/deduped/report.json",
        manifest="results/deduped/manifest.json",
    log:
        "logs/report_deduplication.log",
    benchmark:
        "benchmarks/report_deduplication.tsv"
    conda:
        conda_file("data")
    threads: 1
    resources:
        mem_mb=growing(500),
        runtime=growing(10),
    params:
        code=code_digest("report_deduplication"),
        environment=environment_digest("data"),
    script:
        "../workflow_scripts/report_deduplication.py"


rule merge_splits:
    input:
        records=deduplicated_records,
    output:
        train="results/splits/{lang}/train.parquet",
        val="results/splits/{lang}/val.parquet",
        test="results/splits/{lang}/test.parquet",
        extra=expand("results/splits/{{lang}}/{split}.parquet", split=EXTRA_SPLITS),
        manifest="results/splits/{lang}/manifest.json",
    log:
        "logs/merge_splits/{lang}.log",
    benchmark:
        "benchmarks/merge_splits/{lang}.tsv"
    wildcard_constraints:
        lang=one_of(lang for lang in CFG.corpora if lang not in CFG.released_records),
    conda:
        conda_file("data")
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(30),
    params:
        code=code_digest("merge_splits"),
        environment=environment_digest("data"),
    script:
        "../workflow_scripts/merge_splits.py"


rule export_views:
    input:
        train=rules.merge_splits.output.train,
        val=rules.merge_splits.output.val,
        test=rules.merge_splits.output.test,
        extra=rules.merge_splits.output.extra,
    output:
        current=expand(
            "results/views/{{lang}}/current/{split}.jsonl", split=[*VIEW_SPLITS, *EXTRA_SPLITS]
        ),
        llamafactory=expand(
            "results/views/{{lang}}/llamafactory/{split}.json", split=[*VIEW_SPLITS, *EXTRA_SPLITS]
        ),
        dist_sft=expand(
            "results/views/{{lang}}/dist_sft_{split}.json", split=[*VIEW_SPLITS, *EXTRA_SPLITS]
        ),
        dataset_info="results/views/{lang}/dataset_info.json",
        manifest="results/views/{lang}/manifest.json",
    log:
        "logs/export_views/{lang}.log",
    benchmark:
        "benchmarks/export_views/{lang}.tsv"
    conda:
        conda_file("data")
    threads: 2
    resources:
        mem_mb=growing(2000),
        runtime=growing(60),
    params:
        code=code_digest("export_views"),
        environment=environment_digest("data"),
    script:
        "../workflow_scripts/export_views.py"
