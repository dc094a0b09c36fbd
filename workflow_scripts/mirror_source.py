"""Copy the raw files of a corpus from a local mirror."""

from pathlib import Path

from polyalign.data.registry import SourcePlace
from polyalign.data.sources import mirror_source
from polyalign.job import run_job


def main(job):
    folder = Path(job.output.manifest).parent
    entry = SourcePlace.model_validate(job.params.entry)
    return mirror_source(job.wildcards.dataset, job.params.mirror, folder, entry=entry)


run_job(snakemake, main)
