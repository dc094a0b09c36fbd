"""Put the shards of a judge's work on a cell together, in the order of its rows."""

from polyalign.job import run_job
from polyalign.judge.gather import gather_judgements


def main(job):
    return gather_judgements(
        job.input.records,
        list(job.input.shards),
        job.output.judgements,
        job.output.probes,
        rows=job.params.rows,
        seed=job.params.seed,
    )


run_job(snakemake, main)
