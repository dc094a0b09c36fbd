# Training: each trained method turns an initial model and rows into a checkpoint folder.
# Resumable state is kept in work/{cell}/{fingerprint}, which no rule declares.


rule train_sft:
    input:
        train="results/splits/{lang}/train.parquet",
        val="results/splits/{lang}/val.parquet",
        init=base_model,
    output:
        model="results/checkpoints/{lang}_sft_{model}/model.safetensors",
        config="results/checkpoints/{lang}_sft_{model}/config.json",
        tokenizer="results/checkpoints/{lang}_sft_{model}/tokenizer.json",
        chat_template="results/checkpoints/{lang}_sft_{model}/chat_template.jinja",
        training_log="results/checkpoints/{lang}_sft_{model}/training_log.csv",
        loss_curve=report(
            "results/checkpoints/{lang}_sft_{model}/loss_curve.png",
            caption="../resources/captions/loss_curve.rst",
            category="Training",
            labels={"method": "SFT", "language": "{lang}", "model": "{model}"},
        ),
        manifest="results/checkpoints/{lang}_sft_{model}/manifest.json",
    log:
        "logs/train_sft/{lang}_{model}.log",
    benchmark:
        "benchmarks/train_sft/{lang}_{model}.tsv"
    priority: PRIORITY
    conda:
        conda_file("train")
    threads: 4
    resources:
        gpu=CFG.gpus,
        mem_mb=growing(64000 if CFG.gpus else 8000),
        runtime=growing(2880),
    params:
        recipe=recipe_of("sft"),
        max_length=max_length_of,
        seed=seed_of,
        code=code_digest("train_sft"),
        environment=environment_digest("train"),
    script:
        "../workflow_scripts/train_sft.py"


rule train_bucketsft:
    input:
        train="results/splits/{lang}/train.parquet",
        val="results/splits/{lang}/val.parquet",
        init=base_model,
    output:
        model="results/checkpoints/{lang}_bucketsft_{model}/model.safetensors",
        config="results/checkpoints/{lang}_bucketsft_{model}/config.json",
        tokenizer="results/checkpoints/{lang}_bucketsft_{model}/tokenizer.json",
        chat_template="results/checkpoints/{lang}_bucketsft_{model}/chat_template.jinja",
        training_log="results/checkpoints/{lang}_bucketsft_{model}/training_log.csv",
        loss_curve=report(
            "results/checkpoints/{lang}_bucketsft_{model}/loss_curve.png",
            caption="../resources/captions/loss_curve.rst",
            category="Training",
            labels={"method": "Bucket-SFT", "language": "{lang}", "model": "{model}"},
        ),
        manifest="results/checkpoints/{lang}_bucketsft_{model}/manifest.json",
    log:
        "logs/train_bucketsft/{lang}_{model}.log",
    benchmark:
        "benchmarks/train_bucketsft/{lang}_{model}.tsv"
    priority: PRIORITY
    conda:
        conda_file("train")
    threads: 4
    resources:
        gpu=CFG.gpus,
        mem_mb=growing(64000 if CFG.gpus else 8000),
        runtime=growing(2880),
    params:
        recipe=recipe_of("bucketsft"),
        max_length=max_length_of,
        seed=seed_of,
        code=code_digest("train_bucketsft"),
        environment=environment_digest("train"),
    script:
        "../workflow_scripts/train_bucketsft.py"


rule train_dpo:
    input:
        train="results/pairs/{lang}/{model}/train.parquet",
        val="results/pairs/{lang}/{model}/val.parquet",
        train_rows="results/pairs/{lang}/rows_train.parquet",
        val_rows="results/pairs/{lang}/rows_val.parquet",
        init=rules.train_sft.output.manifest,
    output:
        model="results/checkpoints/{lang}_dpo_{model}/model.safetensors",
        config="results/checkpoints/{lang}_dpo_{model}/config.json",
        tokenizer="results/checkpoints/{lang}_dpo_{model}/tokenizer.json",
        chat_template="results/checkpoints/{lang}_dpo_{model}/chat_template.jinja",
        training_log="results/checkpoints/{lang}_dpo_{model}/training_log.csv",
        loss_curve=report(
            "results/checkpoints/{lang}_dpo_{model}/loss_curve.png",
            caption="../resources/captions/loss_curve.rst",
            category="Training",
            labels={"method": "DPO", "language": "{lang}", "model": "{model}"},
        ),
        manifest="results/checkpoints/{lang}_dpo_{model}/manifest.json",
    log:
        "logs/train_dpo/{lang}_{model}.log",
    benchmark:
        "benchmarks/train_dpo/{lang}_{model}.tsv"
    priority: PRIORITY
    conda:
        conda_file("train")
    threads: 4
    resources:
        gpu=CFG.gpus,
        mem_mb=growing(64000 if CFG.gpus else 8000),
        runtime=growing(2880),
    params:
        recipe=recipe_of("dpo"),
        max_length=max_length_of,
        seed=seed_of,
        code=code_digest("train_dpo"),
        environment=environment_digest("train"),
    script:
        "../workflow_scripts/train_dpo.py"


rule train_hdpo:
    input:
        train="results/pairs/{lang}/{model}/train_scored.parquet",
        val="results/pairs/{lang}/{model}/val_scored.parquet",
        train_rows="results/pairs/{lang}/rows_train.parquet",
        val_rows="results/pairs/{lang}/rows_val.parquet",
        init=rules.train_bucketsft.output.manifest,
        critic="results/critic/{lang}/{model}/manifest.json",
    output:
        model="results/checkpoints/{lang}_hdpo_{model}/model.safetensors",
        config="results/checkpoints/{lang}_hdpo_{model}/config.json",
        tokenizer="results/checkpoints/{lang}_hdpo_{model}/tokenizer.json",
        chat_template="results/checkpoints/{lang}_hdpo_{model}/chat_template.jinja",
        training_log="results/checkpoints/{lang}_hdpo_{model}/training_log.csv",
        loss_curve=report(
            "results/checkpoints/{lang}_hdpo_{model}/loss_curve.png",
            caption="../resources/captions/loss_curve.rst",
            category="Training",
            labels={"method": "HDPO", "language": "{lang}", "model": "{model}"},
        ),
        manifest="results/checkpoints/{lang}_hdpo_{model}/manifest.json",
    log:
        "logs/train_hdpo/{lang}_{model}.log",
    benchmark:
        "benchmarks/train_hdpo/{lang}_{model}.tsv"
    priority: PRIORITY
    conda:
        conda_file("train")
    threads: 4
    resources:
        gpu=CFG.gpus,
        mem_mb=growing(64000 if CFG.gpus else 8000),
        runtime=growing(2880),
    params:
        recipe=recipe_of("hdpo"),
        max_length=max_length_of,
        seed=seed_of,
        code=code_digest("train_hdpo"),
        environment=environment_digest("train"),
    script:
        "../workflow_scripts/train_hdpo.py"
