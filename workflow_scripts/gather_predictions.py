"""Put the shards of a split's answers together, in the order of its rows."""

from polyalign.inference.gather import gather_predictions
from polyalign.job import run_job


def main(job):
    return gather_predictions(job.input.rows, list(job.input.shards), job.output.predictions)


run_job(snakemake, main)
