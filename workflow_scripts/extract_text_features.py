"""Extract the text features of the human answers of one split."""

from pathlib import Path

from polyalign.features.text_files import write_text_features
from polyalign.job import run_job


def main(job):
    return write_text_features(
        job.input.records,
        job.output.features,
        feature_set=job.params.feature_set,
        nltk_data=Path(job.input.nltk_data).parent if job.input.nltk_data else None,
        workers=job.threads,
        shard=job.wildcards.get("scatteritem"),
    )


run_job(snakemake, main)
