"""Answer the rows of a split with a cell's model; a killed job goes on where it stopped."""

from pathlib import Path

from polyalign.inference.runner import generate_predictions
from polyalign.job import run_job
from polyalign.manifest import read_manifest
from polyalign.prompts import MODE_OF_METHOD


def main(job):
    cell = job.wildcards
    details = generate_predictions(
        job.input.rows,
        Path(job.input.model).parent,
        job.output.predictions,
        mode=MODE_OF_METHOD[cell.method],
        decoding=job.params.decoding,
        engine_settings=job.params.engine,
        split=cell.split,
        cell=f"{cell.lang}_{cell.method}_{cell.model}",
        code=job.params.code,
    )
    return {**details, "source": read_manifest(job.input.model)["details"].get("source", {"kind": "train"})}


run_job(snakemake, main)
