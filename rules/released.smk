# Released artifacts as inputs: records that stand in for splits, and cells whose checkpoint or predictions were published.
# The configuration's `released_records` and `cells` say which; all other splits and cells are made by the other rules.


if CFG.inference.shards == 1:

    ruleorder: import_predictions > generate_predictions

else:

    ruleorder: import_predictions > gather_predictions


ruleorder: import_checkpoint > train_sft
ruleorder: import_checkpoint > train_bucketsft
ruleorder: import_checkpoint > train_dpo
ruleorder: import_checkpoint > train_hdpo


# On the submitting machine: compute nodes often have no way out.
rule fetch_released:
    output:
        file="resources/released/{artifact}.jsonl",
        manifest="resources/released/{artifact}.manifest.json",
    log:
        "logs/fetch_released/{artifact}.log",
    benchmark:
        "benchmarks/fetch_released/{artifact}.tsv"
    wildcard_constraints:
        artifact=one_of(name for name, path in LOCAL.items() if path is None),
    localrule: True
    conda:
        conda_file("data")
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(120),
        downloads=1,
    params:
        place=released_place,
        code=code_digest("fetch_released"),
        environment=environment_digest("data"),
    script:
        "../workflow_scripts/fetch_released.py"


rule import_records:
    input:
        source=released_file,
    output:
        records="results/splits/{lang}/{split}.parquet",
        manifest="results/splits/{lang}/{split}.manifest.json",
    log:
        "logs/import_records/{lang}_{split}.log",
    benchmark:
        "benchmarks/import_records/{lang}_{split}.tsv"
    wildcard_constraints:
        lang=one_of(CFG.released_records),
    conda:
        conda_file("data")
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing(30),
    params:
        place=released_place,
        code=code_digest("import_records"),
        environment=environment_digest("data"),
    script:
        "../workflow_scripts/import_records.py"


# Fetches what is on the hub, so this too runs on the submitting machine.
rule import_checkpoint:
    input:
        files=local_checkpoint,
    output:
        manifest="results/checkpoints/{cell}/manifest.json",
    log:
        "logs/import_checkpoint/{cell}.log",
    benchmark:
        "benchmarks/import_checkpoint/{cell}.tsv"
    wildcard_constraints:
        cell=one_of(CFG.cells_from("checkpoint")),
    localrule: True
    conda:
        conda_file("train")
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing(240),
        downloads=1,
    params:
        place=checkpoint_place,
        folder=checkpoint_folder,
        templates=checkpoint_templates,
        code=code_digest("import_checkpoint"),
        environment=environment_digest("train"),
    script:
        "../workflow_scripts/import_checkpoint.py"


rule import_predictions:
    input:
        source=released_file,
        records=test_split_of_cell,
    output:
        predictions="results/predictions/{cell}/test.jsonl",
        manifest="results/predictions/{cell}/test.manifest.json",
    log:
        "logs/import_predictions/{cell}.log",
    benchmark:
        "benchmarks/import_predictions/{cell}.tsv"
    wildcard_constraints:
        cell=one_of(CFG.cells_from("predictions")),
    conda:
        conda_file("infer")
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing(60),
    params:
        place=released_place,
        decoding=stated_decoding,
        code=code_digest("import_predictions"),
        environment=environment_digest("infer"),
    script:
        "../workflow_scripts/import_predictions.py"
