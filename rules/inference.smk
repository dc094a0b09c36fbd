# Answers of a cell's model: to the whole test split, and to the train and val rows that become pairs.


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
    conda:
        "../envs/infer.yaml"
    threads: 4
    resources:
        gpu=min(CFG.gpus, 1),
        mem_mb=growing(32000),
        runtime=growing(1440),
    params:
        decoding=decoding_of,
        engine=engine_of,
        code=code_digest("generate_predictions"),
    script:
        "../workflow_scripts/generate_predictions.py"
