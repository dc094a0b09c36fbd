"""Train DPO from the SFT checkpoint on human-versus-model pairs."""

from pathlib import Path

from polyalign.job import run_job
from polyalign.training.run_preference import train_preference


def main(job):
    return train_preference(
        pairs={"train": job.input.train, "val": job.input.val},
        records={"train": job.input.train_rows, "val": job.input.val_rows},
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
