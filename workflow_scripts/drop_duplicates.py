"""Copy one corpus without its duplicates."""

import pyarrow as pa

from polyalign.data.dedup import REMOVED_SCHEMA, drop_duplicates
from polyalign.files import read_table
from polyalign.job import run_job
from polyalign.records import SPLITS


def main(job):
    return drop_duplicates(
        job.wildcards.dataset,
        {split: job.input[split] for split in SPLITS},
        pa.concat_tables(read_table(path, REMOVED_SCHEMA.names) for path in job.input.removed),
        {split: job.output[split] for split in SPLITS},
    )


run_job(snakemake, main)
