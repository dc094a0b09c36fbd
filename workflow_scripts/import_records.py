"""Take released records as a split of one language."""

from polyalign.job import run_job
from polyalign.released import import_records


def main(job):
    return import_records(job.input.source, job.output.records, job.wildcards.lang, place=job.params.place)


run_job(snakemake, main)
