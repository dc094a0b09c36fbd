"""Download a base model at the revision that the configuration names."""

from pathlib import Path

from polyalign.hub import fetch_model
from polyalign.job import run_job


def main(job):
    return fetch_model(
        job.params.repository,
        job.params.revision,
        Path(job.output.manifest).parent,
        chat_template=job.params.chat_template,
    )


run_job(snakemake, main)
