"""Report deduplication over all languages of the grid."""

from polyalign.data.dedup import combine_reports
from polyalign.files import read_json, write_json
from polyalign.job import run_job


def main(job):
    report = combine_reports(read_json(path) for path in job.input.reports)
    write_json(job.output.report, report)
    return report["counts"]


run_job(snakemake, main)
