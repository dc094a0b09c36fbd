"""Merge deduplicated corpora into the train, val and test splits of one language."""

from pathlib import Path

from polyalign.data.record_trees import group_by_corpus
from polyalign.data.splits import merge_splits
from polyalign.job import run_job


def main(job):
    outputs = {Path(file).stem: file for file in job.output if Path(file).suffix == ".parquet"}
    return merge_splits(group_by_corpus(job.input.records), outputs, job.wildcards.lang)


run_job(snakemake, main)
