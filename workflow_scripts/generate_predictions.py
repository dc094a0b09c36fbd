"""Answer the rows of a split with a cell's model; a killed job goes on where it stopped."""

from polyalign.job import run_job


def main(job):
    # Imported in the stage's own environment, which run_job enters first.
    from polyalign.inference.runner import answer_cell

    return answer_cell(job)


run_job(snakemake, main)
