# Blind human evaluation: pages for annotators, and the summary of what they exported.


rule build_human_eval:
    input:
        records="results/splits/{lang}/test.parquet",
        predictions=[f"results/predictions/{{lang}}_{cell}/test.jsonl" for cell in JUDGED_CELLS],
    output:
        pages=expand("results/human_eval/{{lang}}/site/{mode}.html", mode=CFG.human_eval.modes),
        sample="results/human_eval/{lang}/sample.jsonl",
        key="results/human_eval/{lang}/key.json",
        manifest="results/human_eval/{lang}/manifest.json",
    log:
        "logs/build_human_eval/{lang}.log",
    benchmark:
        "benchmarks/build_human_eval/{lang}.tsv"
    conda:
        conda_file("report")
    threads: 1
    resources:
        mem_mb=growing(8000),
        runtime=growing(30),
    params:
        systems=[f"{{lang}}_{cell}" for cell in JUDGED_CELLS],
        settings=HUMAN_EVAL_BUILD,
        page=human_eval_page(),
        code=code_digest("build_human_eval"),
        environment=environment_digest("report"),
    script:
        "../workflow_scripts/build_human_eval.py"


rule summarize_human_eval:
    input:
        exports=human_eval_exports,
        key="results/human_eval/{lang}/key.json",
        reports=[f"results/metrics/{{lang}}_{cell}.json" for cell in JUDGED_CELLS],
        judges=judge_summaries,
    output:
        summary="results/human_eval/{lang}/summary/summary.json",
        tables=report(
            "results/human_eval/{lang}/summary/human_eval_{lang}.html",
            caption="../resources/captions/human_eval.rst",
            category="Tables",
            labels={"table": "Human evaluation", "language": "{lang}"},
        ),
        texts=expand(
            "results/human_eval/{{lang}}/summary/human_eval_{{lang}}.{kind}",
            kind=["md", "tex", "csv"],
        ),
        manifest="results/human_eval/{lang}/summary/manifest.json",
    log:
        "logs/summarize_human_eval/{lang}.log",
    benchmark:
        "benchmarks/summarize_human_eval/{lang}.tsv"
    conda:
        conda_file("report")
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing(30),
    params:
        bootstrap=CFG.human_eval.bootstrap,
        confidence=CFG.human_eval.confidence,
        seed=CFG.human_eval.seed,
        code=code_digest("summarize_human_eval"),
        environment=environment_digest("report"),
    script:
        "../workflow_scripts/summarize_human_eval.py"
