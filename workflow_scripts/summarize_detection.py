"""Summarize every detector's scores of one language, and build their page and figure."""

from pathlib import Path

from polyalign.detection.summary import summarize_files
from polyalign.job import run_job
from polyalign.tables.detection import build_detection


def main(job):
    summaries = summarize_files(
        dict(zip(job.params.detectors, job.input.human, strict=True)),
        job.params.cells,
        dict(zip(job.params.detectors, job.output.summaries, strict=True)),
        language=job.wildcards.lang,
        settings=job.params.settings,
        seed=job.params.seed,
    )
    return build_detection(
        summaries,
        Path(job.output.page).parent,
        models=job.params.models,
        stand_ins=job.params.stand_ins,
    )


run_job(snakemake, main)
