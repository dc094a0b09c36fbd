"""Answer one shard of a split's rows with a cell's model; a killed job goes on where it stopped."""

from polyalign.job import run_job


def main(job):
    # Imported in the stage's own environment, which run_job enters first.
    from polyalign.inference.runner import answer_cell

    number, count = map(int, job.wildcards.scatteritem.split("-of-"))
    return answer_cell(job, shard=(number, count))


run_job(snakemake, main)
