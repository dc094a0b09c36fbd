"""Judge all cells of a language with every judge, each loaded once; a killed job goes on where it stopped."""

from pathlib import Path

from polyalign.job import run_job


def main(job):
    # Imported in the stage's own environment, which run_job enters first.
    from polyalign.judge.run import Files, judge_files

    predictions = dict(zip(job.params.cells, job.input.predictions, strict=True))
    places = {(Path(path).parent.name, Path(path).stem): Path(path) for path in job.output.judgements}
    found = {}
    for judge, (folder, engine) in job.params.folders.items():
        cells = {
            cell: Files(path, places[judge, cell], places[judge, cell].with_suffix(".probes.jsonl"))
            for cell, path in predictions.items()
        }
        found[judge] = judge_files(
            job.input.records,
            cells,
            folder,
            judge=judge,
            settings=job.params.settings,
            engine_settings=engine,
            seed=job.params.seed,
            code=job.params.code,
        )
    warnings = [
        line for cells in found.values() for details in cells.values() for line in details["warnings"]
    ]
    return {"judges": {judge: list(cells.values()) for judge, cells in found.items()}, "warnings": warnings}


run_job(snakemake, main)
