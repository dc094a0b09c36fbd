"""What a run made and where it is: the closing words of the demo."""

import csv
from collections.abc import Iterator
from pathlib import Path

from polyalign.errors import BadInput
from polyalign.files import StrPath
from polyalign.tables.main import COLUMNS
from polyalign.tables.names import METHOD_LABELS, language_name

_SHOWN = {"qa_f1": 22, "char_f1": 22, "bng": 22, "hcr_calibrated": 22, "mauve": 8, "mean_tokens": 8}
"""Metrics that fit a terminal, with the width of each column; the narrow ones go without interval."""

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


def _shown(row: dict[str, str], digits: int, width: int) -> str:
    """A value with its interval, where there is room for one."""
    if not row["estimate"]:
        return "–"
    text = f"{float(row['estimate']):.{digits}f}"
    if width < 20 or not row["low"]:
        return text
    return f"{text} [{float(row['low']):.{digits}f}, {float(row['high']):.{digits}f}]"


def _table(file: Path) -> Iterator[str]:
    """The methods of a language, a line each, from the CSV of the main table."""
    with file.open(encoding="utf-8", newline="") as handle:
        rows = [row for row in csv.DictReader(handle) if row["table"] == "methods" and not row.get("seed")]
    columns = [column for column in COLUMNS if any(row["metric"] == column.key for row in rows)]
    # Character F1 stands in for the other where words are not separated by spaces.
    replaced = "qa_f1" if any(column.key == "char_f1" for column in columns) else "char_f1"
    columns = [column for column in columns if column.key in _SHOWN and column.key != replaced]
    values = {(row["model"], row["method"], row["metric"]): row for row in rows}
    heads = "".join(
        f"{f'{column.header} {column.arrow}'.strip():>{_SHOWN[column.key]}}" for column in columns
    )
    yield f"{language_name(rows[0]['language']) if rows else '':<24}{heads}"
    for model, method in dict.fromkeys((row["model"], row["method"]) for row in rows):
        cells = (
            f"{_shown(values[model, method, column.key], column.digits, _SHOWN[column.key]):>{_SHOWN[column.key]}}"
            for column in columns
        )
        yield f"{model + ' ' + METHOD_LABELS.get(method, method):<24}{''.join(cells)}"


def overview(folder: StrPath) -> str:
    """The methods of every language in few columns, and where a working directory's tables and other artifacts are.

    Raises:
        BadInput: nothing was built there.
    """
    root = Path(folder)
    tables = sorted(root.glob("results/tables/main_*.csv"))
    if not tables:
        raise BadInput("no tables here", file=root, fix="build them with `make demo` or `snakemake tables`")
    lines = [line for table in tables for line in [*_table(table), ""]]
    lines.append("Where to look:")
    for pattern, meaning in _PLACES:
        lines += [f"  {path}  ({meaning})" for path in sorted(root.glob(pattern))]
    return "\n".join(lines)
