"""Score the human answers and all predictions of a language with every detector."""

from pathlib import Path

from polyalign.detection.run import detect_files
from polyalign.job import run_job


def main(job):
    predictions = dict(zip(job.params.cells, job.input.predictions, strict=True))
    found = {}
    for human in job.output.human:
        folder = Path(human).parent
        files = {human: None, **{folder / f"{cell}.jsonl": path for cell, path in predictions.items()}}
        found[folder.name] = detect_files(
            folder.name,
            job.params.folders[folder.name],
            job.input.records,
            files,
            settings=job.params.settings,
            seed=job.params.seed,
        )
    return {name: list(details.values()) for name, details in found.items()}


run_job(snakemake, main)
