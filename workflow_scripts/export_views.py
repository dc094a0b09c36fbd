"""Write the views of one language's splits for people and other tools."""

from pathlib import Path

from polyalign.data.views import export_views
from polyalign.job import run_job


def main(job):
    splits = {Path(file).stem: file for file in job.input}
    return export_views(splits, Path(job.output.dataset_info).parent, job.wildcards.lang, job.threads)


run_job(snakemake, main)
