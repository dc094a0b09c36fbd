# Bucket references: what human answers look like in each condition.


rule build_references:
    input:
        records=expand("results/splits/{{lang}}/{split}.parquet", split=CFG.references.splits),
        features=expand(
            "results/features/{{lang}}/{{scorer}}/human_{split}.parquet",
            split=CFG.references.splits,
        ),
    output:
        references="results/references/{lang}/{scorer}/bucket_references.json",
        matrix="results/references/{lang}/{scorer}/feature_matrix.parquet",
        skipped="results/references/{lang}/{scorer}/skipped_buckets.json",
        manifest="results/references/{lang}/{scorer}/manifest.json",
    log:
        "logs/build_references/{lang}_{scorer}.log",
    benchmark:
        "benchmarks/build_references/{lang}_{scorer}.tsv"
    conda:
        conda_file("features")
    threads: 1
    resources:
        mem_mb=growing(8000),
        runtime=growing(60),
    params:
        min_bucket_size=CFG.references.min_bucket_size,
        code=code_digest("build_references"),
        environment=environment_digest("features"),
    script:
        "../workflow_scripts/build_references.py"
