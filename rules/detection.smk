# Detectors of machine text on the human answers and on every system's predictions, and their summaries.


rule build_stand_ins:
    input:
        train="results/splits/{lang}/train.parquet",
        bases=bases_of_stand_ins,
    output:
        manifest="results/stand_ins/{lang}/manifest.json",
    log:
        "logs/build_stand_ins/{lang}.log",
    benchmark:
        "benchmarks/build_stand_ins/{lang}.tsv"
    conda:
        conda_file("train")
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing(30),
    params:
        stand_ins={name: values.model_dump() for name, values in STAND_INS.items()},
        bases=folders_of_bases,
        seed=CFG.seed,
        code=code_digest("build_stand_ins"),
        environment=environment_digest("train"),
    script:
        "../workflow_scripts/build_stand_ins.py"


# One detector on one cell; the oracle, which stands in no table, is scored this way when it is asked for by name.
rule detect_texts:
    input:
        records="results/splits/{lang}/test.parquet",
        predictions="results/predictions/{lang}_{method}_{model}/test.jsonl",
        models=models_of_detector,
    output:
        scores="results/detection/{detector}/{lang}_{method}_{model}.jsonl",
        manifest="results/detection/{detector}/{lang}_{method}_{model}.manifest.json",
    log:
        "logs/detect_texts/{detector}_{lang}_{method}_{model}.log",
    benchmark:
        "benchmarks/detect_texts/{detector}_{lang}_{method}_{model}.tsv"
    wildcard_constraints:
        detector="|".join(DETECTORS),
    conda:
        conda_file("infer")
    threads: 4
    resources:
        gpu=min(CFG.gpus, 1),
        mem_mb=growing(48000),
        runtime=growing(480),
    params:
        folders=detector_folders,
        settings=CFG.detectors.model_dump(),
        seed=CFG.seed,
        code=code_digest("detect_texts"),
        environment=environment_digest("infer"),
    script:
        "../workflow_scripts/detect_texts.py"


use rule detect_texts as detect_human_texts with:
    input:
        records="results/splits/{lang}/test.parquet",
        models=models_of_detector,
    output:
        scores="results/detection/{detector}/{lang}_human.jsonl",
        manifest="results/detection/{detector}/{lang}_human.manifest.json",
    log:
        "logs/detect_human_texts/{detector}_{lang}.log",
    benchmark:
        "benchmarks/detect_human_texts/{detector}_{lang}.tsv"


# All detectors on all cells of a language in one job, for models that take longer to load than to run.
rule detect_language:
    input:
        records="results/splits/{lang}/test.parquet",
        predictions=predictions_of_language,
        models=models_of_detector,
    output:
        human=expand(
            "results/detection/{detector}/{{lang}}_human.jsonl", detector=CFG.detectors.run
        ),
        scores=expand(
            "results/detection/{detector}/{{lang}}_{method}_{model}.jsonl",
            detector=CFG.detectors.run,
            model=CFG.grid.models,
            method=CFG.grid.methods,
        ),
        manifest="results/detection/{lang}.manifest.json",
    log:
        "logs/detect_language/{lang}.log",
    benchmark:
        "benchmarks/detect_language/{lang}.tsv"
    conda:
        conda_file("infer")
    threads: 1
    resources:
        gpu=min(CFG.gpus, 1),
        mem_mb=growing(8000),
        runtime=growing(120),
    params:
        folders=detector_folders,
        cells=cells_of_language,
        settings=CFG.detectors.model_dump(),
        seed=CFG.seed,
        code=code_digest("detect_language"),
        environment=environment_digest("infer"),
    script:
        "../workflow_scripts/detect_language.py"


# Both make the same files; the configuration says which of them does.
if CFG.detectors.job == "language":

    ruleorder: detect_language > detect_texts
    ruleorder: detect_language > detect_human_texts

else:

    ruleorder: detect_texts > detect_language
    ruleorder: detect_human_texts > detect_language


rule summarize_detection:
    input:
        human=expand(
            "results/detection/{detector}/{{lang}}_human.jsonl", detector=CFG.detectors.run
        ),
        scores=expand(
            "results/detection/{detector}/{{lang}}_{method}_{model}.jsonl",
            detector=CFG.detectors.run,
            model=CFG.grid.models,
            method=CFG.grid.methods,
        ),
    output:
        summaries=expand(
            "results/detection/{detector}/summary_{{lang}}.json", detector=CFG.detectors.run
        ),
        page=report(
            "results/tables/detection_{lang}.html",
            caption="../resources/captions/detection.rst",
            category="Tables",
            labels={"table": "Detectors", "language": "{lang}"},
        ),
        figure=report(
            "results/tables/detection_{lang}.png",
            caption="../resources/captions/detection.rst",
            category="Figures",
            labels={"figure": "Detectors", "language": "{lang}"},
        ),
        others=expand("results/tables/detection_{{lang}}.{kind}", kind=["md", "tex", "csv", "pdf"]),
        manifest="results/detection/summary_{lang}.manifest.json",
    log:
        "logs/summarize_detection/{lang}.log",
    benchmark:
        "benchmarks/summarize_detection/{lang}.tsv"
    conda:
        conda_file("report")
    threads: 1
    resources:
        mem_mb=growing(8000),
        runtime=growing(60),
    params:
        detectors=CFG.detectors.run,
        cells=cells_of_language,
        models=CFG.grid.models,
        stand_ins=[key for key in STAND_INS if key in keys_of_detectors(CFG.detectors.run)],
        settings={key: getattr(CFG.detectors, key) for key in ("bootstrap", "confidence", "bins")},
        seed=CFG.seed,
        published=file_digest("resources/published/detection.csv"),
        code=code_digest("summarize_detection"),
        environment=environment_digest("report"),
    script:
        "../workflow_scripts/summarize_detection.py"
