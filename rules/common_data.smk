# Input functions of the corpora: where they come from and what the registry says of them.
from polyalign.data.registry import get_entry, load_registry
from polyalign.data.sources import mirror_files

REGISTRY_FILE = ROOT / CFG.sources.registry
REGISTRY = or_exit(load_registry, REGISTRY_FILE)


def source_entry(wildcards):
    """Where the corpus comes from, by the registry, as plain values."""
    return entry_of(wildcards).place


def entry_of(wildcards):
    """The corpus' entry in the registry."""
    return or_exit(get_entry, wildcards.dataset, REGISTRY, file=REGISTRY_FILE)


def mirror_folder():
    """The mirror of raw corpora as seen from the working directory."""
    return from_checkout(CFG.sources.mirror)


def mirrored_files(wildcards):
    """Files of the corpus in the mirror, so that a copy is stale once one of them is newer."""
    entry = entry_of(wildcards)
    return list(map(str, or_exit(mirror_files, wildcards.dataset, mirror_folder(), entry)))


def mirrored_sizes(wildcards):
    """Bytes of each of them: a file that was replaced by an older one seldom has the same size."""
    return {file: os.path.getsize(file) for file in mirrored_files(wildcards)}


def inventoried_corpora():
    """{language: its corpora} of what the workflow formats itself: released records are splits already."""
    languages = [lang for lang in CFG.grid.languages if lang not in CFG.released_records]
    return {lang: CFG.corpora[lang] for lang in languages}


def inventory_files(pattern):
    """A file of every corpus of the inventory."""
    datasets = [name for corpora in inventoried_corpora().values() for name in corpora]
    return expand(pattern, dataset=datasets, split=SPLITS)


def inventory():
    """The page of the inventory, where there is anything to count."""
    return ["results/tables/inventory.md"] if inventoried_corpora() else []


def scope_in_words():
    """Version of the scope that the registry states."""
    scope = REGISTRY.scope
    return f"Scope version {scope.version} of {scope.date}"


def registry_values(key):
    """{corpus: a value of its entry} of the registry: `licence`, or `causes` that rows are left out for."""
    return {
        name: getattr(entry if key == "licence" else entry.scope, key)
        for name, entry in REGISTRY.corpora.items()
    }


def formatted_records(wildcards):
    """Every split of every corpus of the language, as formatted."""
    datasets = CFG.corpora[wildcards.lang]
    return expand("results/formatted/{dataset}/{split}.parquet", dataset=datasets, split=SPLITS)


def removed_records(wildcards):
    """The tables of records removed from the corpus' language: exact duplicates, and near ones if so set."""
    language = CFG.language_of(wildcards.dataset)
    kinds = ["removed", *(["near"] if CFG.data.near_duplicates.mode == "remove" else [])]
    return expand("results/deduped/{lang}_{kind}.parquet", lang=language, kind=kinds)


def near_reports():
    """Reports of near-duplicates, where the configuration asks for them."""
    if CFG.data.near_duplicates.mode == "none":
        return []
    return expand("results/deduped/{lang}_near_report.json", lang=CFG.grid.languages)


def deduplicated_records(wildcards):
    """Every split of every corpus of the language, without duplicates."""
    datasets = CFG.corpora[wildcards.lang]
    return expand("results/deduped/{dataset}/{split}.parquet", dataset=datasets, split=SPLITS)
