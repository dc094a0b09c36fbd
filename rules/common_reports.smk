# Cells of the grid, their predictions and reports as inputs, and the seeds that tell cells of a model apart; kept apart
# from common.smk for its length.


def cells_of_model(wildcards):
    """Cells of the job's language and model, in table order."""
    return expand(
        "{lang}_{method}_{model}",
        lang=wildcards.lang,
        model=wildcards.model,
        method=CFG.grid.methods,
    )


def cells_of_language(wildcards):
    """Cells of the job's language, in table order."""
    return expand(
        "{lang}_{method}_{model}",
        lang=wildcards.lang,
        model=CFG.grid.models,
        method=CFG.grid.methods,
    )


def predictions_of_language(wildcards):
    """Predictions of these cells."""
    return expand("results/predictions/{cell}/test.jsonl", cell=cells_of_language(wildcards))


def grid_metrics(languages=None):
    """Metrics reports of the grid, in table order."""
    cells = CFG.grid_cells(languages)
    return [f"results/metrics/{lang}_{method}_{model}.json" for lang, method, model in cells]


def language_reports(wildcards):
    """Metrics reports of a language's cells."""
    return grid_metrics([wildcards.lang])


def replicates_of(reports):
    """The bootstrap replicates that stand beside reports."""
    return [report.replace(".json", "_bootstrap.parquet") for report in reports]


def language_replicates(wildcards):
    """Bootstrap replicates of a language's cells."""
    return replicates_of(language_reports(wildcards))


def compared_reports(wildcards):
    """{label: reports of the grid's cells} of the other runs that the ablation table takes in."""
    found = {}
    for label, folder in CFG.tables.compare.items():
        there = os.path.relpath(ROOT / folder)
        cells = [Path(there, report) for report in grid_metrics([wildcards.lang])]
        found[label] = [str(report) for report in cells if report.is_file()]
    return found


def compared_files(wildcards):
    """The reports of `compared_reports` and their replicates, as one list."""
    reports = [report for found in compared_reports(wildcards).values() for report in found]
    return reports + replicates_of(reports)


def seed_of(wildcards):
    """The seed that the cell is trained and sampled with."""
    further = CFG.further_seed(wildcards.model)
    return CFG.seed if further is None else further


def original_of(wildcards):
    """The model whose further seed the cell's model is, or None."""
    original = CFG.original_of(wildcards.model)
    return None if original == wildcards.model else original
