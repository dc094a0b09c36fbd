"""Train the critic of one language and model on its pairs."""

from pathlib import Path

from polyalign.critic.train import train_critic
from polyalign.job import run_job


def main(job):
    return train_critic(
        job.input.train,
        job.input.val,
        Path(job.input.encoder).parent,
        Path(job.output.config).parent,
        job.params.cache,
        job.params.recipe,
    )


run_job(snakemake, main)
