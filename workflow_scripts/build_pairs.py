"""Pair human answers with the SFT model's, with the support distance of each."""

from polyalign.critic.targets import read_target_pair
from polyalign.job import run_job
from polyalign.pairs import build_pairs


def main(job):
    human, model = read_target_pair(
        job.input.human_features[0],
        job.input.model_features[0],
        job.input.references[0],
        support=job.params.support,
        form=job.params.target_form,
    )
    return build_pairs(job.input.rows, job.input.predictions, human, model, job.output.pairs)


run_job(snakemake, main)
