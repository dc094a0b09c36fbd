"""Summarize the judges of one language, how far they agree, and build their page and figure."""

from pathlib import Path

from polyalign.job import run_job
from polyalign.judge.summary import summarize_files
from polyalign.tables.judge import build_judge


def main(job):
    judged = {
        judge: [path for path in job.input.judgements if Path(path).parent.name == judge]
        for judge in job.params.judges
    }
    summaries, agreement = summarize_files(
        judged,
        job.params.cells,
        dict(zip(job.params.judges, job.output.summaries, strict=True)),
        job.output.agreement,
        language=job.wildcards.lang,
        settings=job.params.settings,
        seed=job.params.seed,
    )
    return build_judge(
        summaries,
        agreement,
        Path(job.output.page).parent,
        models=job.params.models,
        stand_ins=job.params.stand_ins,
    )


run_job(snakemake, main)
