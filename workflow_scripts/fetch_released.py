"""Download a released file at the revision that the configuration names."""

from polyalign.downloads import allow_downloads
from polyalign.job import run_job
from polyalign.released import fetch_released


def main(job):
    allow_downloads()
    return fetch_released(job.params.place, job.output.file)


run_job(snakemake, main)
