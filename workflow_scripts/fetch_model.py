"""Download a base model at the revision that the configuration names."""

from pathlib import Path

from polyalign.downloads import allow_downloads
from polyalign.hub import fetch_model
from polyalign.job import run_job


def main(job):
    allow_downloads()
    return fetch_model(
        job.params.repository,
        job.params.revision,
        Path(job.output.manifest).parent,
        chat_template=job.params.chat_template,
    )


run_job(snakemake, main)
