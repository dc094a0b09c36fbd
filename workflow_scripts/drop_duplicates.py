"""Copy one corpus without its duplicates."""

from polyalign.dedup import drop_duplicates
from polyalign.files import read_table
from polyalign.job import run_job
from polyalign.records import SPLITS


def main(job):
    return drop_duplicates(
        job.wildcards.dataset,
        {split: job.input[split] for split in SPLITS},
        read_table(job.input.removed),
        {split: job.output[split] for split in SPLITS},
    )


run_job(snakemake, main)
