"""Generate a stand-in corpus in the raw file layout of the real one."""

from pathlib import Path

from polyalign.data.sources import list_files
from polyalign.demo.sources import write_demo_source
from polyalign.job import run_job


def main(job):
    dataset, folder = job.wildcards.dataset, Path(job.output.manifest).parent
    write_demo_source(dataset, folder, job.params.rows, job.params.seed)
    return {"dataset": dataset, "obtained": "generated", "files": list_files(folder)}


run_job(snakemake, main)
