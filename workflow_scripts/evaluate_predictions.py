"""Evaluate the test predictions of a cell against the human answers."""

from pathlib import Path

from polyalign.job import run_job
from polyalign.manifest import read_manifest
from polyalign.metrics.evaluate import evaluate, summarize_report


def main(job):
    cell = job.wildcards
    mauve_model = job.input.get("mauve_model")
    report = evaluate(
        job.input.records,
        job.input.predictions,
        job.input.references,
        job.input.human_features,
        job.input.prediction_features,
        settings=job.params.settings,
        cell={
            "language": cell.lang,
            "method": cell.method,
            "model": cell.model,
            "seed_of": job.params.seed_of,
        },
        generation=read_manifest(job.input.generation)["details"],
        mauve_model_dir=Path(mauve_model).parent if mauve_model else None,
        replicates_path=job.output.replicates,
        seed=job.params.seed,
        threads=job.threads,
    )
    report.save(job.output.report)
    return summarize_report(report)


run_job(snakemake, main)
