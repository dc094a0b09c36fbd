"""Take the distances of every system's answers from the human ones, and build their page."""

from pathlib import Path

from polyalign.embeddings.summary import summarize_files
from polyalign.job import run_job
from polyalign.tables.embeddings import build_embeddings


def main(job):
    summary = summarize_files(
        job.wildcards.lang,
        job.input.records,
        job.input.human,
        {Path(path).stem: path for path in job.input.vectors},
        job.output.summary,
        settings=job.params.settings,
        seed=job.params.seed,
    )
    built = build_embeddings(summary, Path(job.output.page).parent, models=job.params.models)
    return {**built, "encoder": summary["encoder"], "space": summary["space"]}


run_job(snakemake, main)
