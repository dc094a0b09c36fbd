"""Write scored pairs as LLaMA-Factory preference files."""

from pathlib import Path

from polyalign.job import run_job
from polyalign.pair_views import export_pair_views


def main(job):
    return export_pair_views(
        {"train": job.input.train_rows, "val": job.input.val_rows},
        {"train": job.input.train_pairs, "val": job.input.val_pairs},
        Path(job.output.dataset_info).parent,
        f"{job.wildcards.lang}_{job.wildcards.model}",
    )


run_job(snakemake, main)
