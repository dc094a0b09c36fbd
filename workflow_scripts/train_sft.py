"""Fine-tune a base model on the human answers of a language."""

from polyalign.job import run_job
from polyalign.training.run import cell_arguments
from polyalign.training.run_sft import train_sft


def main(job):
    return train_sft(train=job.input.train, val=job.input.val, **cell_arguments(job))


run_job(snakemake, main)
