"""Find the records of one language that deduplication removes, and report why."""

from polyalign.data.dedup import find_duplicates
from polyalign.data.record_trees import group_by_corpus
from polyalign.files import write_json, write_table
from polyalign.job import run_job


def main(job):
    removed, report = find_duplicates(group_by_corpus(job.input.records), job.threads)
    write_table(job.output.removed, removed)
    write_json(job.output.report, report)
    return report["counts"]


run_job(snakemake, main)
