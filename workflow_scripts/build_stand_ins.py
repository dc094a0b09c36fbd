"""Train the tiny stand-ins of the detectors' models for one language."""

from pathlib import Path

from polyalign.detection.stand_ins import build_stand_ins
from polyalign.job import run_job


def main(job):
    return build_stand_ins(
        job.input.train,
        Path(job.output.manifest).parent,
        job.params.stand_ins,
        job.params.bases,
        job.params.seed,
    )


run_job(snakemake, main)
