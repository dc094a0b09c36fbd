# Human-versus-model pairs, the critic that scores them, and the preference views made of both.


rule select_pair_rows:
    input:
        split="results/splits/{lang}/{split}.parquet",
    output:
        rows="results/pairs/{lang}/rows_{split}.parquet",
        manifest="results/pairs/{lang}/rows_{split}.manifest.json",
    log:
        "logs/select_pair_rows/{lang}_{split}.log",
    benchmark:
        "benchmarks/select_pair_rows/{lang}_{split}.tsv"
    wildcard_constraints:
        split="train|val",
    conda:
        conda_file("data")
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing(30),
    params:
        rows=lookup("{split}", within=CFG.pairs.rows.model_dump()),
        seed=CFG.pairs.seed,
        code=code_digest("select_pair_rows"),
        environment=environment_digest("data"),
    script:
        "../workflow_scripts/select_pair_rows.py"


rule build_pairs:
    input:
        rows="results/pairs/{lang}/rows_{split}.parquet",
        predictions="results/predictions/{lang}_sft_{model}/{split}.jsonl",
        human_features=expand(
            "results/features/{{lang}}/{scorer}/human_{{split}}.parquet", scorer=scorer_of
        ),
        model_features=expand(
            "results/features/{{lang}}/{scorer}/{{lang}}_sft_{{model}}_{{split}}.parquet",
            scorer=scorer_of,
        ),
        references=expand(
            "results/references/{{lang}}/{scorer}/bucket_references.json", scorer=scorer_of
        ),
    output:
        pairs="results/pairs/{lang}/{model}/{split}.parquet",
        manifest="results/pairs/{lang}/{model}/{split}.manifest.json",
    log:
        "logs/build_pairs/{lang}_{model}_{split}.log",
    benchmark:
        "benchmarks/build_pairs/{lang}_{model}_{split}.tsv"
    wildcard_constraints:
        split="train|val",
    priority: PRIORITY
    conda:
        conda_file("data")
    threads: 1
    resources:
        mem_mb=growing(8000),
        runtime=growing(60),
    params:
        support=CFG.references.support,
        target_form=critic_target_form,
        code=code_digest("build_pairs"),
        environment=environment_digest("data"),
    script:
        "../workflow_scripts/build_pairs.py"


rule train_critic:
    input:
        train="results/pairs/{lang}/{model}/train.parquet",
        val="results/pairs/{lang}/{model}/val.parquet",
        encoder=base_model,
    output:
        config="results/critic/{lang}/{model}/config.json",
        buckets="results/critic/{lang}/{model}/buckets.json",
        head="results/critic/{lang}/{model}/model.safetensors",
        history="results/critic/{lang}/{model}/history.csv",
        steps="results/critic/{lang}/{model}/steps.csv",
        manifest="results/critic/{lang}/{model}/manifest.json",
    log:
        "logs/train_critic/{lang}_{model}.log",
    benchmark:
        "benchmarks/train_critic/{lang}_{model}.tsv"
    priority: PRIORITY
    conda:
        conda_file("train")
    threads: 4
    resources:
        gpu=min(CFG.gpus, 1),
        mem_mb=growing(32000),
        runtime=growing(480),
    params:
        recipe=recipe_of("critic"),
        cache="work/critic/{lang}_{model}",
        code=code_digest("train_critic"),
        environment=environment_digest("train"),
    script:
        "../workflow_scripts/train_critic.py"


rule score_pairs:
    input:
        pairs=expand("results/pairs/{{lang}}/{{model}}/{split}.parquet", split=["train", "val"]),
        train="results/pairs/{lang}/{model}/train.parquet",
        critic="results/critic/{lang}/{model}/manifest.json",
        encoder=base_model,
    output:
        pairs=expand(
            "results/pairs/{{lang}}/{{model}}/{split}_scored.parquet", split=["train", "val"]
        ),
        manifest=expand(
            "results/pairs/{{lang}}/{{model}}/{split}_scored.manifest.json", split=["train", "val"]
        ),
    log:
        "logs/score_pairs/{lang}_{model}.log",
    benchmark:
        "benchmarks/score_pairs/{lang}_{model}.tsv"
    priority: PRIORITY
    conda:
        conda_file("train")
    threads: 4
    resources:
        gpu=min(CFG.gpus, 1),
        mem_mb=growing(32000),
        runtime=growing(120),
    params:
        parts=PAIR_PARTS,
        weights=critic_weights,
        cache="work/critic/{lang}_{model}",
        code=code_digest("score_pairs"),
        environment=environment_digest("train"),
    script:
        "../workflow_scripts/score_pairs.py"


rule export_pair_views:
    input:
        train_rows="results/pairs/{lang}/rows_train.parquet",
        val_rows="results/pairs/{lang}/rows_val.parquet",
        train_pairs="results/pairs/{lang}/{model}/train_scored.parquet",
        val_pairs="results/pairs/{lang}/{model}/val_scored.parquet",
    output:
        dpo_train="results/views/{lang}/{model}/dpo_train.json",
        dpo_val="results/views/{lang}/{model}/dpo_val.json",
        hdpo_train="results/views/{lang}/{model}/hdpo_train.json",
        hdpo_val="results/views/{lang}/{model}/hdpo_val.json",
        dataset_info="results/views/{lang}/{model}/dataset_info.json",
        manifest="results/views/{lang}/{model}/manifest.json",
    log:
        "logs/export_pair_views/{lang}_{model}.log",
    benchmark:
        "benchmarks/export_pair_views/{lang}_{model}.tsv"
    conda:
        conda_file("data")
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing(30),
    params:
        code=code_digest("export_pair_views"),
        environment=environment_digest("data"),
    script:
        "../workflow_scripts/export_pair_views.py"
