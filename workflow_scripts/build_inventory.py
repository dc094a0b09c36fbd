"""Count what the corpora hold and write the inventory as tables and a figure."""

from pathlib import Path

from polyalign.data.inventory import inventory_of_run
from polyalign.job import run_job
from polyalign.tables.inventory import build_inventory


def main(job):
    return build_inventory(
        inventory_of_run(".", job.params.corpora),
        Path(job.output.md).parent,
        licences=job.params.licences,
        reasons=job.params.reasons,
        scope=job.params.scope,
    )


run_job(snakemake, main)
