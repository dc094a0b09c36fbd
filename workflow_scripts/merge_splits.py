"""Merge deduplicated corpora into the train, val and test splits of one language."""

from polyalign.job import run_job
from polyalign.record_trees import group_by_corpus
from polyalign.records import VIEW_SPLITS
from polyalign.splits import merge_splits


def main(job):
    outputs = {split: job.output[split] for split in VIEW_SPLITS}
    return merge_splits(group_by_corpus(job.input.records), outputs, job.wildcards.lang)


run_job(snakemake, main)
