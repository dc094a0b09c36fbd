# Input functions of the blind human evaluation, kept apart from common.smk for its length.
from polyalign.human_eval.build import page_digest

# Cells, without their language, whose answers annotators judge; and what of the settings a page is made from.
JUDGED_CELLS = expand(
    "{method}_{model}",
    model=CFG.human_eval.models or CFG.grid.models,
    method=CFG.human_eval.methods or CFG.grid.methods,
)
HUMAN_EVAL_BUILD = CFG.human_eval.model_dump(
    exclude={"methods", "models", "bootstrap", "confidence"}
)


def human_eval_page():
    """Digest of the page's sources, so that an edit of them builds the pages anew."""
    return page_digest()


def exported_ratings(lang):
    """What annotators of a language exported: files that people put there, so they are looked for, not made."""
    return sorted(map(str, Path("results", "human_eval", lang, "exports").glob("*.json")))


def human_eval_exports(wildcards):
    """Exports of the language; without one there is nothing to summarize."""
    found = exported_ratings(wildcards.lang)
    return found or f"results/human_eval/{wildcards.lang}/exports/NAME.json"


def judge_summaries(wildcards):
    """Summaries of the judges of a language, whose composites the ratings are compared with."""
    return expand(
        "results/judge/{judge}/summary_{lang}.json", judge=CFG.judges.run, lang=wildcards.lang
    )


def human_evaluation():
    """Pages of every language of the grid, and the summaries of those that annotators exported ratings of."""
    rated = [lang for lang in CFG.grid.languages if exported_ratings(lang)]
    return [f"results/human_eval/{lang}/manifest.json" for lang in CFG.grid.languages] + [
        f"results/human_eval/{lang}/summary/manifest.json" for lang in rated
    ]
