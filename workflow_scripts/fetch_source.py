"""Download the raw files of a corpus at the revision that the registry names."""

from pathlib import Path

from polyalign.data.registry import SourcePlace
from polyalign.data.sources import fetch_source
from polyalign.downloads import allow_downloads
from polyalign.job import run_job


def main(job):
    allow_downloads()
    folder = Path(job.output.manifest).parent
    entry = SourcePlace.model_validate(job.params.entry)
    return fetch_source(job.wildcards.dataset, folder, entry=entry)


run_job(snakemake, main)
