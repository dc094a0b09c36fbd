"""Join the shards of one feature table."""

from polyalign.features.shards import join_features
from polyalign.job import run_job


def main(job):
    return join_features(job.input.shards, job.output.features)


run_job(snakemake, main)
