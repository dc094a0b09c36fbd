"""Score the human answers of a split, or a cell's predictions, with one detector."""

from polyalign.detection.run import detect_files
from polyalign.job import run_job


def main(job):
    predictions = job.input.get("predictions")
    ((detector, folders),) = job.params.folders.items()
    found = detect_files(
        detector,
        folders,
        job.input.records,
        {job.output.scores: predictions},
        settings=job.params.settings,
        seed=job.params.seed,
    )
    return found[job.output.scores]


run_job(snakemake, main)
