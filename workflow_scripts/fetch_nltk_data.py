"""Gather the NLTK data of paper-v1: from a mirror, from NLTK's own folders, or by download; checked by content."""

from pathlib import Path

from polyalign.downloads import allow_downloads
from polyalign.features.nltk_data import gather_nltk_data
from polyalign.job import run_job


def main(job):
    allow_downloads()
    return gather_nltk_data(Path(job.output.manifest).parent, job.params.mirror)


run_job(snakemake, main)
