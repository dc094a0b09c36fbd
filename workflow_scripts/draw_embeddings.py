"""Draw the answers of a model's systems beside the human ones."""

from pathlib import Path

from polyalign.embeddings.draw import Drawing, draw_job
from polyalign.job import run_job


def main(job):
    files = (job.output.png, job.output.pdf, job.output.html, job.output.coordinates)
    return draw_job(
        job.input.human,
        dict(zip(job.params.cells, job.input.vectors, strict=True)),
        dict(zip(job.params.cells, job.input.predictions, strict=True)),
        job.input.records,
        job.input.summary,
        settings=job.params.settings,
        seed=job.params.seed,
        out=Drawing(*map(Path, files)),
        name=job.wildcards.model,
    )


run_job(snakemake, main)
