"""Turn the human answers and all predictions of a language into vectors."""

from polyalign.embeddings.encode import embed_job
from polyalign.job import run_job


def main(job):
    predictions = dict(zip(job.output.vectors, job.input.predictions, strict=True))
    return embed_job(
        job.params.folder,
        job.input.records,
        {job.output.human: None, **predictions},
        settings=job.params.settings,
        dtype=job.params.dtype,
        origin=job.params.origin,
        seed=job.params.seed,
        cache_dir=job.params.cache,
    )


run_job(snakemake, main)
