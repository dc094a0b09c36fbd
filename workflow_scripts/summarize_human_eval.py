"""Summarize what the annotators of a language exported."""

from pathlib import Path

from polyalign.human_eval.summary import summarize
from polyalign.job import run_job


def main(job):
    return summarize(
        job.input.exports,
        job.input.key,
        Path(job.output.summary).parent,
        metrics=job.input.reports,
        judges=job.input.judges,
        bootstrap=job.params.bootstrap,
        confidence=job.params.confidence,
        seed=job.params.seed,
    )


run_job(snakemake, main)
