# Input functions of the embedding analysis, kept apart from common.smk for its length.
from polyalign.embeddings.page import page_digest as embedding_page
from polyalign.embeddings.settings import encoder_of


def encoder_model(wildcards):
    """Manifest of the model that embeds answers."""
    return base_model_of(wildcards.lang, or_exit(encoder_of, CFG.embeddings))


def encoder_folder(wildcards):
    """Its folder."""
    return str(Path(encoder_model(wildcards)).parent)


def encoder_dtype(wildcards):
    """Precision of its weights."""
    return CFG.models[or_exit(encoder_of, CFG.embeddings)].dtype


def encoder_origin(wildcards):
    """Where it comes from, as plain values."""
    key = or_exit(encoder_of, CFG.embeddings)
    model = CFG.models[key]
    if model.hub is None:
        return {"key": key, "hub": None, "built": "here from the training text"}
    return {"key": key, "hub": model.hub, "revision": model.revision}


def embedding_settings(*keys):
    """Some settings of the analysis, as plain values, so that a changed key reruns what reads it alone."""
    return CFG.embeddings.model_dump(include=set(keys))


EMBED_SETTINGS = embedding_settings(
    "kind", "prefix", "max_length", "batch_tokens", "normalize", "rows"
)
COMPARE_SETTINGS = embedding_settings(
    "components",
    "min_bucket_size",
    "folds",
    "permutations",
    "bootstrap",
    "confidence",
)
DRAW_SETTINGS = embedding_settings(
    "components", "projections", "figure_rows", "perplexity", "neighbors"
)


def embedding_pages():
    """The page of every model and language."""
    return expand(
        "results/embeddings/{lang}/{model}/embeddings.html",
        lang=CFG.grid.languages,
        model=CFG.grid.models,
    )
