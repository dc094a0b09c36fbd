# Answers of a cell's model: to the whole test split, and to the train and val rows that become pairs.
# One job a split, or as many as `inference.shards` says, whose answers are then put together; or one job for the test
# answers of all cells of a language.


if CFG.inference.shards == 1:

    rule generate_predictions:
        input:
            rows=rows_to_answer,
            model=policy_model,
        output:
            predictions="results/predictions/{lang}_{method}_{model}/{split}.jsonl",
            manifest="results/predictions/{lang}_{method}_{model}/{split}.manifest.json",
        log:
            "logs/generate_predictions/{lang}_{method}_{model}_{split}.log",
        benchmark:
            "benchmarks/generate_predictions/{lang}_{method}_{model}_{split}.tsv"
        priority: PRIORITY
        conda:
            conda_file("infer")
        threads: 4
        resources:
            gpu=CFG.inference_gpus,
            mem_mb=growing(32000),
            runtime=growing(1440),
        params:
            decoding=decoding_of,
            engine=engine_of,
            code=code_digest("generate_predictions"),
            environment=environment_digest("infer"),
        script:
            "../workflow_scripts/generate_predictions.py"

else:

    scattergather:
        answers=CFG.inference.shards,

    rule generate_shard:
        input:
            rows=rows_to_answer,
            model=policy_model,
        output:
            predictions="results/predictions/{lang}_{method}_{model}/shards/{split}_{scatteritem}.jsonl",
            manifest="results/predictions/{lang}_{method}_{model}/shards/{split}_{scatteritem}.manifest.json",
        log:
            "logs/generate_shard/{lang}_{method}_{model}_{split}_{scatteritem}.log",
        benchmark:
            "benchmarks/generate_shard/{lang}_{method}_{model}_{split}_{scatteritem}.tsv"
        priority: PRIORITY
        conda:
            conda_file("infer")
        threads: 4
        resources:
            gpu=CFG.inference_gpus,
            mem_mb=growing(32000),
            runtime=growing(1440),
        params:
            decoding=decoding_of,
            engine=engine_of,
            code=code_digest("generate_shard"),
            environment=environment_digest("infer"),
        script:
            "../workflow_scripts/generate_shard.py"

    rule gather_predictions:
        input:
            rows=rows_to_answer,
            predictions=gather.answers(
                "results/predictions/{{lang}}_{{method}}_{{model}}/shards/{{split}}_{scatteritem}.jsonl"
            ),
            shards=gather.answers(
                "results/predictions/{{lang}}_{{method}}_{{model}}/shards/{{split}}_{scatteritem}.manifest.json"
            ),
        output:
            predictions="results/predictions/{lang}_{method}_{model}/{split}.jsonl",
            manifest="results/predictions/{lang}_{method}_{model}/{split}.manifest.json",
        log:
            "logs/gather_predictions/{lang}_{method}_{model}_{split}.log",
        benchmark:
            "benchmarks/gather_predictions/{lang}_{method}_{model}_{split}.tsv"
        priority: PRIORITY
        conda:
            conda_file("infer")
        threads: 1
        resources:
            mem_mb=growing(8000),
            runtime=growing(60),
        params:
            code=code_digest("gather_predictions"),
            environment=environment_digest("infer"),
        script:
            "../workflow_scripts/gather_predictions.py"


# The test answers of all cells of a language, and the answers that become pairs, of both splits, for models that take
# longer to load than to run.
if CFG.inference.job == "language":

    use rule generate_predictions as generate_language with:
        input:
            rows="results/splits/{lang}/test.parquet",
            model=for_each(policy_model),
        output:
            predictions=each("results/predictions/{lang}_{method}_{model}/test.jsonl"),
            manifest=each("results/predictions/{lang}_{method}_{model}/test.manifest.json"),
        log:
            "logs/generate_language/{lang}.log",
        benchmark:
            "benchmarks/generate_language/{lang}.tsv"
        params:
            parts=GRID_PARTS,
            decoding=for_each(decoding_of),
            engine=for_each(engine_of),
            code=code_digest("generate_predictions"),
            environment=environment_digest("infer"),

    use rule generate_predictions as generate_pair_answers with:
        input:
            rows=expand("results/pairs/{{lang}}/rows_{split}.parquet", split=["train", "val"]),
            model="results/checkpoints/{lang}_sft_{model}/manifest.json",
        output:
            predictions=expand(
                "results/predictions/{{lang}}_sft_{{model}}/{split}.jsonl",
                split=["train", "val"],
            ),
            manifest=expand(
                "results/predictions/{{lang}}_sft_{{model}}/{split}.manifest.json",
                split=["train", "val"],
            ),
        log:
            "logs/generate_pair_answers/{lang}_{model}.log",
        benchmark:
            "benchmarks/generate_pair_answers/{lang}_{model}.tsv"
        params:
            parts=PAIR_PARTS,
            decoding=for_each(decoding_of, PAIR_PARTS),
            engine=for_each(engine_of, PAIR_PARTS),
            code=code_digest("generate_predictions"),
            environment=environment_digest("infer"),

    ruleorder: generate_language > generate_predictions
    ruleorder: generate_pair_answers > generate_predictions
