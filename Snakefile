# PolyAlign: conditional human-distribution alignment, from raw corpora to tables.
#     snakemake --profile slurm results/metrics/en_hdpo_llama3b.json
#     snakemake -n
#     snakemake tables
from snakemake.utils import min_version

from polyalign.environments import announce

min_version("9.20")


configfile: f"{workflow.basedir}/config/config.yaml"


report: "resources/captions/workflow.rst"


include: "rules/common.smk"
include: "rules/data.smk"
include: "rules/models.smk"
include: "rules/features.smk"
include: "rules/references.smk"
include: "rules/training.smk"
include: "rules/critic.smk"
include: "rules/inference.smk"
include: "rules/released.smk"
include: "rules/metrics.smk"
include: "rules/detection.smk"
include: "rules/embeddings.smk"
include: "rules/judge.smk"
include: "rules/tables.smk"
include: "rules/human_eval.smk"


announce(ENVIRONMENTS, {step.name: step.conda_env for step in workflow.rules})


# What `snakemake` alone builds: the tables of the whole grid.
rule tables:
    default_target: True
    input:
        expand("results/tables/main_{lang}.md", lang=CFG.grid.languages),
        rules.audit_reports.output.md,
        inventory(),


rule metrics:
    input:
        grid_metrics(),


# The corpora as JSONL and in LLaMA-Factory's layout, and what deduplication removed.
rule views:
    input:
        expand("results/views/{lang}/manifest.json", lang=CFG.grid.languages),
        rules.report_deduplication.output.report,
        near_reports(),


# Pages of the blind human evaluation, and summaries of what annotators exported.
rule human_eval:
    input:
        human_evaluation(),


rule detection:
    input:
        expand("results/tables/detection_{lang}.md", lang=CFG.grid.languages),


# Human and model answers as vectors: distances, figures, and pages to look around in.
rule embeddings:
    input:
        expand("results/tables/embeddings_{lang}.md", lang=CFG.grid.languages),
        embedding_pages(),


rule judge:
    input:
        expand("results/tables/judge_{lang}.md", lang=CFG.grid.languages),
