"""Build the table and the figure of one language's methods."""

from pathlib import Path

from polyalign.job import run_job
from polyalign.tables import build_table


def main(job):
    return build_table(job.input.reports, Path(job.output.md).parent, models=job.params.models)


run_job(snakemake, main)
