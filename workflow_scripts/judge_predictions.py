"""Judge a cell's answers with one judge; a killed job goes on where it stopped."""

from polyalign.job import run_job


def main(job):
    # Imported in the stage's own environment, which run_job enters first.
    from polyalign.judge.run import judge_cell

    return judge_cell(job)


run_job(snakemake, main)
