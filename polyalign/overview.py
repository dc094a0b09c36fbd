"""What a run made and where it is: the closing words of the demo."""

from pathlib import Path

from polyalign.errors import BadInput
from polyalign.files import StrPath

_PLACES = (
    ("results/report.html", "everything below in one page, for a browser"),
    ("results/tables/main_*.html", "methods side by side, with intervals and tests"),
    ("results/tables/buckets_*.html", "the same by bucket; datasets_*.html by dataset"),
    ("results/tables/ablation_*.html", "published against corrected definitions"),
    ("results/tables/embeddings_*.html", "how far answers are from human ones as vectors"),
    ("results/embeddings/*/*/embeddings.html", "the same as a picture: hover to read the answers"),
    ("results/tables/inventory.html", "what the corpora hold and what was left out"),
    ("results/tables/published_*.html", "the paper's figures, and what is known about each"),
    ("results/tables/detection_*.html", "what detectors of machine text make of each method"),
    ("results/tables/judge_*.html", "how language models grade each method, and whether they agree"),
    ("results/human_eval/*/site/single.html", "answers to be judged blind; pairwise.html compares two"),
    ("results/metrics/*_hdpo_*.json", "the report behind a row"),
    ("results/predictions/*_hdpo_*/test.jsonl", "what the model answered"),
    ("results/checkpoints/*_hdpo_*/loss_curve.png", "how it was trained"),
    ("results/references/*/*/bucket_references.json", "what human answers of each bucket look like"),
    ("results/deduped/report.json", "what deduplication removed"),
)


def overview(folder: StrPath) -> str:
    """The tables of a working directory as text, and where its other artifacts are.

    Raises:
        BadInput: nothing was built there.
    """
    root = Path(folder)
    tables = sorted(root.glob("results/tables/main_*.md"))
    if not tables:
        raise BadInput("no tables here", file=root, fix="build them with `make demo` or `snakemake tables`")
    lines = [table.read_text(encoding="utf-8").strip() + "\n" for table in tables]
    lines.append("Where to look:")
    for pattern, meaning in _PLACES:
        lines += [f"  {path}  ({meaning})" for path in sorted(root.glob(pattern))]
    return "\n".join(lines)
