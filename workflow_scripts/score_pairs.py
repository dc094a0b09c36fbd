"""Score pairs with the critic and give each its HDPO weight."""

from pathlib import Path

from polyalign.critic.score import score_pairs
from polyalign.job import run_job


def main(job):
    return score_pairs(
        job.input.pairs,
        job.input.train,
        Path(job.input.critic).parent,
        Path(job.input.encoder).parent,
        job.params.cache,
        job.output.pairs,
        job.params.weights,
    )


run_job(snakemake, main)
