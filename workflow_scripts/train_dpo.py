"""Train DPO from the SFT checkpoint on human-versus-model pairs."""

from polyalign.job import run_job
from polyalign.training.run import cell_arguments
from polyalign.training.run_preference import train_preference


def main(job):
    return train_preference(
        pairs={"train": job.input.train, "val": job.input.val},
        records={"train": job.input.train_rows, "val": job.input.val_rows},
        **cell_arguments(job),
    )


run_job(snakemake, main)
