"""Download a base model at the revision that the configuration names."""

from pathlib import Path

from polyalign.downloads import allow_downloads
from polyalign.job import run_job
from polyalign.model_download import fetch_model


def main(job):
    allow_downloads()
    return fetch_model(
        job.params.repository,
        job.params.revision,
        Path(job.output.manifest).parent,
        chat_template=job.params.chat_template,
    )


run_job(snakemake, main)
