"""Build a tiny base model from the training text of one language."""

from pathlib import Path

from polyalign.job import run_job
from polyalign.tiny_model import build_tiny_model


def main(job):
    return build_tiny_model(
        [job.input.train],
        Path(job.output.manifest).parent,
        settings=job.params.settings,
        chat_template=job.params.chat_template,
        seed=job.params.seed,
    )


run_job(snakemake, main)
