# Features of human answers and of predictions: of the text, and under the base model that scores them.
# With `features.shards` above 1, each of the four rules makes shards, which gather_features joins; with `features.job`
# set to language, one job does the work of several.


scattergather:
    features=CFG.features.shards,


rule fetch_nltk_data:
    output:
        manifest="resources/nltk_data/manifest.json",
    log:
        "logs/fetch_nltk_data.log",
    benchmark:
        "benchmarks/fetch_nltk_data.tsv"
    localrule: True
    conda:
        conda_file("features")
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=growing(30),
        downloads=1,
    params:
        mirror=nltk_mirror(),
        packages=nltk_packages(),
        code=code_digest("fetch_nltk_data"),
        environment=environment_digest("features"),
    script:
        "../workflow_scripts/fetch_nltk_data.py"


rule extract_text_features:
    input:
        records="results/splits/{lang}/{split}.parquet",
        nltk_data=nltk_data,
    output:
        features=sharded("results/features/{lang}/text/human_{split}.parquet"),
        manifest=sharded("results/features/{lang}/text/human_{split}.manifest.json"),
    log:
        sharded("logs/extract_text_features/{lang}_{split}.log"),
    benchmark:
        sharded("benchmarks/extract_text_features/{lang}_{split}.tsv")
    conda:
        conda_file("features")
    threads: 8
    resources:
        mem_mb=growing(8000),
        runtime=growing(120),
    params:
        feature_set=CFG.features.set,
        code=code_digest("extract_text_features"),
        environment=environment_digest("features"),
    script:
        "../workflow_scripts/extract_text_features.py"


rule extract_prediction_text_features:
    input:
        records="results/splits/{lang}/{split}.parquet",
        predictions="results/predictions/{lang}_{method}_{model}/{split}.jsonl",
        nltk_data=nltk_data,
    output:
        features=sharded("results/features/{lang}/text/{lang}_{method}_{model}_{split}.parquet"),
        manifest=sharded(
            "results/features/{lang}/text/{lang}_{method}_{model}_{split}.manifest.json"
        ),
    log:
        sharded("logs/extract_prediction_text_features/{lang}_{method}_{model}_{split}.log"),
    benchmark:
        sharded("benchmarks/extract_prediction_text_features/{lang}_{method}_{model}_{split}.tsv")
    priority: PRIORITY
    conda:
        conda_file("features")
    threads: 8
    resources:
        mem_mb=growing(8000),
        runtime=growing(60),
    params:
        feature_set=CFG.features.set,
        code=code_digest("extract_prediction_text_features"),
        environment=environment_digest("features"),
    script:
        "../workflow_scripts/extract_prediction_text_features.py"


rule score_human_features:
    input:
        records="results/splits/{lang}/{split}.parquet",
        text=rules.extract_text_features.output.features,
        model=scorer_model,
    output:
        features=sharded("results/features/{lang}/{scorer}/human_{split}.parquet"),
        manifest=sharded("results/features/{lang}/{scorer}/human_{split}.manifest.json"),
    log:
        sharded("logs/score_human_features/{lang}_{scorer}_{split}.log"),
    benchmark:
        sharded("benchmarks/score_human_features/{lang}_{scorer}_{split}.tsv")
    priority: PRIORITY
    conda:
        conda_file("features")
    threads: 4
    resources:
        gpu=min(CFG.gpus, 1),
        mem_mb=growing(32000),
        runtime=growing(1440),
    params:
        lm=CFG.features.lm.model_dump(),
        code=code_digest("score_human_features"),
        environment=environment_digest("features"),
    script:
        "../workflow_scripts/score_human_features.py"


rule score_prediction_features:
    input:
        records="results/splits/{lang}/{split}.parquet",
        predictions="results/predictions/{lang}_{method}_{model}/{split}.jsonl",
        text=rules.extract_prediction_text_features.output.features,
        model=scorer_model,
    output:
        features=sharded("results/features/{lang}/{scorer}/{lang}_{method}_{model}_{split}.parquet"),
        manifest=sharded(
            "results/features/{lang}/{scorer}/{lang}_{method}_{model}_{split}.manifest.json"
        ),
    log:
        sharded("logs/score_prediction_features/{lang}_{scorer}_{method}_{model}_{split}.log"),
    benchmark:
        sharded("benchmarks/score_prediction_features/{lang}_{scorer}_{method}_{model}_{split}.tsv")
    priority: PRIORITY
    conda:
        conda_file("features")
    threads: 4
    resources:
        gpu=min(CFG.gpus, 1),
        mem_mb=growing(32000),
        runtime=growing(480),
    params:
        lm=CFG.features.lm.model_dump(),
        code=code_digest("score_prediction_features"),
        environment=environment_digest("features"),
    script:
        "../workflow_scripts/score_prediction_features.py"


# Human answers of all splits, answers that become pairs, and test predictions of all cells of a language, for models that
# take longer to load than to run.
if CFG.features.job == "language":

    use rule score_human_features as score_all_human_features with:
        input:
            records=expand("results/splits/{{lang}}/{split}.parquet", split=VIEW_SPLITS),
            text=expand("results/features/{{lang}}/text/human_{split}.parquet", split=VIEW_SPLITS),
            model=scorer_model,
        output:
            features=expand(
                "results/features/{{lang}}/{{scorer}}/human_{split}.parquet", split=VIEW_SPLITS
            ),
            manifest=expand(
                "results/features/{{lang}}/{{scorer}}/human_{split}.manifest.json",
                split=VIEW_SPLITS,
            ),
        log:
            "logs/score_all_human_features/{lang}_{scorer}.log",
        benchmark:
            "benchmarks/score_all_human_features/{lang}_{scorer}.tsv"
        params:
            parts=HUMAN_PARTS,
            lm=CFG.features.lm.model_dump(),
            code=code_digest("score_human_features"),
            environment=environment_digest("features"),

    use rule extract_prediction_text_features as extract_language_text_features with:
        input:
            records="results/splits/{lang}/test.parquet",
            predictions=each("results/predictions/{lang}_{method}_{model}/test.jsonl"),
            nltk_data=nltk_data,
        output:
            features=each("results/features/{lang}/text/{lang}_{method}_{model}_test.parquet"),
            manifest=each("results/features/{lang}/text/{lang}_{method}_{model}_test.manifest.json"),
        log:
            "logs/extract_language_text_features/{lang}.log",
        benchmark:
            "benchmarks/extract_language_text_features/{lang}.tsv"
        params:
            parts=GRID_PARTS,
            feature_set=CFG.features.set,
            code=code_digest("extract_prediction_text_features"),
            environment=environment_digest("features"),

    use rule score_prediction_features as score_language_features with:
        input:
            records="results/splits/{lang}/test.parquet",
            predictions=each("results/predictions/{lang}_{method}_{model}/test.jsonl"),
            text=each("results/features/{lang}/text/{lang}_{method}_{model}_test.parquet"),
            model=for_each(scorer_model),
        output:
            features=each("results/features/{lang}/{scorer}/{lang}_{method}_{model}_test.parquet"),
            manifest=each(
                "results/features/{lang}/{scorer}/{lang}_{method}_{model}_test.manifest.json"
            ),
        log:
            "logs/score_language_features/{lang}.log",
        benchmark:
            "benchmarks/score_language_features/{lang}.tsv"
        params:
            parts=GRID_PARTS,
            lm=CFG.features.lm.model_dump(),
            code=code_digest("score_prediction_features"),
            environment=environment_digest("features"),

    use rule score_prediction_features as score_pair_features with:
        input:
            records=expand("results/splits/{{lang}}/{split}.parquet", split=["train", "val"]),
            predictions=expand(
                "results/predictions/{{lang}}_sft_{{model}}/{split}.jsonl",
                split=["train", "val"],
            ),
            text=expand(
                "results/features/{{lang}}/text/{{lang}}_sft_{{model}}_{split}.parquet",
                split=["train", "val"],
            ),
            model=scorer_model,
        output:
            features=expand(
                "results/features/{{lang}}/{{scorer}}/{{lang}}_sft_{{model}}_{split}.parquet",
                split=["train", "val"],
            ),
            manifest=expand(
                "results/features/{{lang}}/{{scorer}}/{{lang}}_sft_{{model}}_{split}.manifest.json",
                split=["train", "val"],
            ),
        log:
            "logs/score_pair_features/{lang}_{scorer}_{model}.log",
        benchmark:
            "benchmarks/score_pair_features/{lang}_{scorer}_{model}.tsv"
        params:
            parts=PAIR_PARTS,
            lm=CFG.features.lm.model_dump(),
            code=code_digest("score_prediction_features"),
            environment=environment_digest("features"),

    ruleorder: score_all_human_features > score_human_features
    ruleorder: extract_language_text_features > extract_prediction_text_features
    ruleorder: score_pair_features > score_prediction_features
    ruleorder: score_language_features > score_prediction_features


if CFG.features.shards > 1:

    rule gather_features:
        input:
            shards=gather.features(
                "results/features/{{lang}}/{{by}}/{{answers}}.shards/{scatteritem}.parquet"
            ),
        output:
            features="results/features/{lang}/{by}/{answers}.parquet",
            manifest="results/features/{lang}/{by}/{answers}.manifest.json",
        log:
            "logs/gather_features/{lang}_{by}_{answers}.log",
        benchmark:
            "benchmarks/gather_features/{lang}_{by}_{answers}.tsv"
        wildcard_constraints:
            by="[^/]+",
            answers="[^/]+",
        priority: PRIORITY
        conda:
            conda_file("features")
        threads: 1
        resources:
            mem_mb=growing(4000),
            runtime=growing(30),
        params:
            code=code_digest("gather_features"),
            environment=environment_digest("features"),
        script:
            "../workflow_scripts/gather_features.py"
