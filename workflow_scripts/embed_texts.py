"""Turn the human answers of a split, or a cell's predictions, into vectors."""

from polyalign.embeddings.encode import embed_job
from polyalign.job import run_job


def main(job):
    return embed_job(
        job.params.folder,
        job.input.records,
        {job.output.vectors: job.input.get("predictions")},
        settings=job.params.settings,
        dtype=job.params.dtype,
        origin=job.params.origin,
        seed=job.params.seed,
        cache_dir=job.params.cache,
    )


run_job(snakemake, main)
