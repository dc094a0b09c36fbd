"""Draw the rows of a split that get a model answer: seeded, with every bucket's share kept."""

from polyalign.job import run_job
from polyalign.pairs import write_pair_rows


def main(job):
    return write_pair_rows(job.input.split, job.output.rows, rows=job.params.rows, seed=job.params.seed)


run_job(snakemake, main)
