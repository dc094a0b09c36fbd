"""Train HDPO from the Bucket-SFT checkpoint on pairs scored by the critic."""

from pathlib import Path

from polyalign.job import run_job
from polyalign.training.run import cell_arguments
from polyalign.training.run_hdpo import train_hdpo


def main(job):
    return train_hdpo(
        pairs={"train": job.input.train, "val": job.input.val},
        records={"train": job.input.train_rows, "val": job.input.val_rows},
        critic_dir=Path(job.input.critic).parent,
        **cell_arguments(job),
    )


run_job(snakemake, main)
