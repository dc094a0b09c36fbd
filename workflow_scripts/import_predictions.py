"""Take released predictions as those of a cell, after checking each row against its record."""

from polyalign.job import run_job
from polyalign.released_predictions import import_predictions


def main(job):
    return import_predictions(
        job.input.source,
        job.input.records,
        job.output.predictions,
        cell=job.wildcards.cell,
        place=job.params.place,
        decoding=job.params.decoding,
    )


run_job(snakemake, main)
