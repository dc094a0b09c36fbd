"""Build the bucket references of one language under one scorer."""

from pathlib import Path

from polyalign.job import run_job
from polyalign.references import build_references


def main(job):
    return build_references(
        job.input.records,
        job.input.features,
        Path(job.output.references).parent,
        min_bucket_size=job.params.min_bucket_size,
    )


run_job(snakemake, main)
