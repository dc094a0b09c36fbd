"""Judge one shard of a cell's answers; a killed job goes on where it stopped."""

from polyalign.job import run_job


def main(job):
    # Imported in the stage's own environment, which run_job enters first.
    from polyalign.judge.run import judge_cell

    number, count = map(int, job.wildcards.scatteritem.split("-of-"))
    return judge_cell(job, shard=(number, count))


run_job(snakemake, main)
