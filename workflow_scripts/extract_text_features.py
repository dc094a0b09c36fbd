"""Extract the text features of the human answers of one split."""

from polyalign.features.text_files import write_text_features
from polyalign.job import run_job


def main(job):
    return write_text_features(
        job.input.records,
        job.output.features,
        feature_set=job.params.feature_set,
        workers=job.threads,
    )


run_job(snakemake, main)
