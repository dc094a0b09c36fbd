"""Take a released checkpoint, from the hub or a local folder, as the model of a cell."""

from pathlib import Path

from polyalign.downloads import allow_downloads
from polyalign.job import run_job
from polyalign.released import import_checkpoint


def main(job):
    allow_downloads()
    return import_checkpoint(
        job.params.place,
        Path(job.output.manifest).parent,
        folder=job.params.folder,
        **job.params.templates,
    )


run_job(snakemake, main)
