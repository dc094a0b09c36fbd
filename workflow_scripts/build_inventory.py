"""Count what the corpora hold and write the inventory as tables and a figure."""

from pathlib import Path

from polyalign.data.inventory import take_inventories
from polyalign.job import run_job
from polyalign.tables.inventory import build_inventory


def main(job):
    return build_inventory(
        take_inventories(
            job.params.corpora, job.input.raw, job.input.formatted, job.input.records, job.input.removed
        ),
        Path(job.output.md).parent,
        licences=job.params.licences,
        reasons=job.params.reasons,
        scope=job.params.scope,
    )


run_job(snakemake, main)
