"""Find the records of one language that are nearly the same as a better protected one, and report them apart."""

from polyalign.data.near_duplicates import find_near_duplicates
from polyalign.data.record_trees import group_by_corpus
from polyalign.data.shingles import NearDuplicates
from polyalign.files import read_table, write_json, write_table
from polyalign.job import run_job


def main(job):
    near, report = find_near_duplicates(
        group_by_corpus(job.input.records),
        NearDuplicates(**job.params.settings),
        gone=read_table(job.input.removed),
        processes=job.threads,
    )
    write_table(job.output.near, near)
    write_json(job.output.report, report)
    return report["counts"]


run_job(snakemake, main)
