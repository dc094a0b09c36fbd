"""Build the tables and figures of one language's methods."""

from pathlib import Path

from polyalign.job import run_job
from polyalign.tables.build import build_tables


def main(job):
    return build_tables(
        job.input.reports,
        Path(job.output.main).parent,
        models=job.params.models,
        others=job.params.compared,
    )


run_job(snakemake, main)
