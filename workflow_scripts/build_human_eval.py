"""Build the pages of a language's blind human evaluation."""

from pathlib import Path

from polyalign.human_eval.build import build_sites
from polyalign.job import run_job


def main(job):
    return build_sites(
        job.input.records,
        dict(zip(job.params.systems, job.input.predictions, strict=True)),
        Path(job.output.key).parent,
        language=job.wildcards.lang,
        settings=job.params.settings,
    )


run_job(snakemake, main)
