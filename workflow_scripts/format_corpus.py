"""Format one corpus: raw files in their official layout to normalized records."""

from pathlib import Path

from polyalign.corpora.formatting import format_corpus
from polyalign.data.sources import verify_source
from polyalign.job import run_job


def main(job):
    raw = Path(job.input.raw).parent
    verify_source(raw)
    return format_corpus(
        job.wildcards.dataset,
        raw,
        Path(job.output.manifest).parent,
        seed=job.params.seed,
        token_rule=job.params.token_rule,
        published_quirks=job.params.published_quirks,
    )


run_job(snakemake, main)
