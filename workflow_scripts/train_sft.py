"""Fine-tune a base model on the human answers of a language."""

from pathlib import Path

from polyalign.job import run_job
from polyalign.training.run_sft import train_sft


def main(job):
    return train_sft(
        train=job.input.train,
        val=job.input.val,
        init_dir=Path(job.input.init).parent,
        recipe=job.params.recipe,
        out_dir=Path(job.output.manifest).parent,
        work_root="work",
        cell=Path(job.output.manifest).parent.name,
        seed=job.params.seed,
        max_length=job.params.max_length,
        code=job.params.code,
        gpus=job.resources.gpu,
        nodes=job.resources.get("nodes", 1),
    )


run_job(snakemake, main)
