"""Audit the reports of the grid: what to distrust in each, and in putting them side by side."""

from polyalign.audit.run import write_audit
from polyalign.job import run_job


def main(job):
    return write_audit(job.input.reports, job.output.md, job.output.json)


run_job(snakemake, main)
