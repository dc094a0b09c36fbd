"""Add language-model features to the text features of the predictions of one cell for one split."""

from functools import lru_cache
from pathlib import Path

from polyalign.features.lm_files import add_lm_features
from polyalign.features.scorer import load_scorer
from polyalign.job import run_job

# Cells of one model share their scorer.
load = lru_cache(maxsize=1)(load_scorer)


def main(job):
    settings = dict(job.params.lm)
    batch_tokens = settings.pop("batch_tokens")
    return add_lm_features(
        job.input.text,
        job.input.records,
        job.output.features,
        load(Path(job.input.model).parent, threads=job.threads, **settings),
        scorer_name=job.wildcards.scorer,
        predictions=job.input.predictions,
        batch_tokens=batch_tokens,
        shard=job.wildcards.get("scatteritem"),
    )


run_job(snakemake, main)
