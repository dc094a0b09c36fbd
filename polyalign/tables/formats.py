"""A page of tables as Markdown, LaTeX and CSV; HTML has a module of its own."""

import csv
import io
from collections.abc import Sequence
from itertools import zip_longest

from polyalign.tables.model import Column, Page, Row, Table, Value

_LATEX = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "&": r"\&",
        "%": r"\%",
        "$": r"\$",
        "#": r"\#",
        "_": r"\_",
        "{": r"\{",
        "}": r"\}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "−": "$-$",
        "–": "--",
        "<": "$<$",
        ">": "$>$",
        "↑": r"$\uparrow$",
        "↓": r"$\downarrow$",
    }
)
SEED_COLUMNS = ("seed", "seeds", "seeds_deviation", "seeds_low", "seeds_high")
"""Further CSV columns of a page with several seeds; a line without `seed` is the mean over `seeds` of them."""
CSV_COLUMNS = (
    "table",
    "language",
    "model",
    "method",
    "baseline",
    "metric",
    "direction",
    "estimate",
    "low",
    "high",
    "p_value",
    "p_holm",
    "best",
    "text",
)


def number(value: float | None, column: Column) -> str:
    """A value with the column's digits, or a dash."""
    if value is None:
        return "–"
    # Adding zero turns a rounded −0 into 0.
    rounded = round(value, column.digits) + 0.0
    return f"{rounded:{'+' if column.signed and rounded else ''},.{column.digits}f}".replace("-", "−")


def bracket(value: Value, column: Column) -> str:
    """The interval in brackets, or nothing."""
    if value.low is None:
        return ""
    return f"[{number(value.low, column)}, {number(value.high, column)}]"


def main_text(value: Value, column: Column) -> str:
    """What a cell says first: its number, or its word where there is none."""
    return value.text if value.estimate is None and value.text else number(value.estimate, column)


def small_texts(value: Value, column: Column) -> list[str]:
    """What a cell adds in small print: interval, spread over seeds and word."""
    word = value.text if value.estimate is not None else ""
    return [text for text in (bracket(value, column), seeds_text(value, column), word) if text]


def seeds_text(value: Value, column: Column) -> str:
    """`sd 0.012, 0.402–0.431, 3 seeds`, or nothing."""
    spread = value.spread
    if spread is None:
        return ""
    low, high = number(spread.low, column), number(spread.high, column)
    return f"sd {spread.deviation:.{column.digits}f}, {low} to {high}, {spread.seeds} seeds"


def header(column: Column) -> str:
    """Header with the arrow of its direction."""
    # Not to be broken between the last word and the arrow.
    return f"{column.header}\u00a0{column.arrow}" if column.direction and column.show_arrow else column.header


def _markdown_row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |"


def to_markdown(page: Page) -> str:
    """GitHub Markdown, intervals in the cells."""
    lines = [f"## {page.title}", ""]
    lines += [page.lead, ""] if page.lead else []
    for table in page.tables:
        lines += [f"### {table.title}", "", *_markdown_table(table), ""]
        lines += [" ".join(table.notes), ""] if table.notes else []
    lines += [" ".join(page.notes), ""] if page.notes else []
    return "\n".join(lines).rstrip() + "\n"


def _markdown_table(table: Table) -> list[str]:
    heads = [header(column) + (f" ({column.detail})" if column.detail else "") for column in table.columns]
    lines = [_markdown_row([table.group, table.stub, *heads])]
    lines += ["|" + " --- | --- |" + "".join(" --- |" if c.words else " ---: |" for c in table.columns)]
    for row in table.rows:
        cells = []
        for column in table.columns:
            value = row.values[column.key]
            text = main_text(value, column)
            text = f"**{text}**" if value.bold else text
            cells.append(" ".join([text, *small_texts(value, column)]))
        lines.append(_markdown_row([row.model, row.label, *cells]))
    return lines


def to_latex(page: Page) -> str:
    """A booktabs float a table; intervals and words stand in a smaller line of their own."""
    floats = [_latex_table(page, table, first=page.tables[0]) for table in page.tables]
    return "% Needs \\usepackage{booktabs,graphicx}.\n" + "\n".join(floats)


def _latex_header(column: Column) -> str:
    """A word a line, so that a column is no wider than its numbers; the arrow stays with the last word."""
    words = [word.replace("\u00a0", " ").translate(_LATEX) for word in header(column).split(" ")]
    return words[0] if len(words) == 1 else r"\shortstack[r]{" + r"\\".join(words) + "}"


def _latex_label(page: Page, table: Table) -> str:
    return f"tab:{page.name}-{page.language}-{table.key}".replace("_", "-").replace(" ", "-")


def _latex_table(page: Page, table: Table, first: Table) -> str:
    """A float; notes of the page stand in the caption of its first one, which the others name."""
    width = len(table.columns) + 1
    lines = [
        r"\begin{table*}[t]",
        r"\centering\small\setlength{\tabcolsep}{4pt}",
        # Only tables wider than the page are scaled.
        r"\resizebox{\ifdim\width>\textwidth\textwidth\else\width\fi}{!}{%",
        r"\begin{tabular}{l" + "".join("l" if column.words else "r" for column in table.columns) + "}",
        r"\toprule",
        " & ".join([table.stub, *(_latex_header(column) for column in table.columns)]) + r" \\",
    ]
    if any(column.detail for column in table.columns):
        details = [_latex_small(column.detail) for column in table.columns]
        lines.append(" & ".join(["", *details]) + r" \\")
    for model in table.models:
        name = model.translate(_LATEX)
        lines += [r"\midrule", rf"\multicolumn{{{width}}}{{l}}{{\textit{{{name}}}}} \\"]
        for row in (row for row in table.rows if row.model == model):
            lines += _latex_row(row, table.columns)
    caption = " ".join(
        [f"{page.title}. {table.title}.", *table.notes, *(page.notes if table is first else [])]
    )
    caption = caption.translate(_LATEX)
    if table is not first and page.notes:
        caption += rf" Rows, intervals and tests as in Table~\ref{{{_latex_label(page, first)}}}."
    lines += [r"\bottomrule", r"\end{tabular}}", rf"\caption{{{caption}}}"]
    lines += [rf"\label{{{_latex_label(page, table)}}}", r"\end{table*}"]
    return "\n".join(lines) + "\n"


def _latex_small(text: str) -> str:
    return rf"{{\scriptsize {text.translate(_LATEX)}}}" if text else ""


def _latex_row(row: Row, columns: Sequence[Column]) -> list[str]:
    values = [(row.values[column.key], column) for column in columns]
    cells = []
    for value, column in values:
        text = main_text(value, column).translate(_LATEX)
        cells.append(rf"\textbf{{{text}}}" if value.bold else text)
    lines = [" & ".join([row.label.translate(_LATEX), *cells]) + r" \\"]
    small = [small_texts(value, column) for value, column in values]
    for texts in zip_longest(*small, fillvalue=""):
        lines.append(" & ".join(["", *(_latex_small(text) for text in texts)]) + r" \\")
    if len(lines) > 1:
        lines[-1] += "[2pt]"
    return lines


def to_csv(page: Page) -> str:
    """Long form, full precision: a line a cell of every table."""
    buffer = io.StringIO()
    seeded = any(
        row.runs or value.spread
        for table in page.tables
        for row in table.rows
        for value in row.values.values()
    )
    names = (*CSV_COLUMNS, *(SEED_COLUMNS if seeded else ()))
    writer = csv.DictWriter(buffer, fieldnames=names, lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    for table in page.tables:
        for line in (line for row in table.rows for line in (row, *row.runs)):
            for column in table.columns:
                writer.writerow(_csv_row(page, table, line, column))
    return buffer.getvalue()


def _csv_row(page: Page, table: Table, row: Row, column: Column) -> dict[str, object]:
    value = row.values[column.key]
    numbers = {name: getattr(value, name) for name in ("estimate", "low", "high", "p_value", "p_holm")}
    spread = value.spread
    numbers |= {f"seeds_{name}": spread and getattr(spread, name) for name in ("deviation", "low", "high")}
    return {
        "table": table.key,
        "language": page.language,
        "model": row.model,
        "method": row.method,
        "baseline": row.baseline,
        "metric": column.key,
        "direction": column.direction,
        **{name: "" if found is None else repr(float(found)) for name, found in numbers.items()},
        "best": int(value.bold),
        "text": value.text,
        "seed": "" if row.seed is None else row.seed,
        "seeds": spread.seeds if spread else "",
    }
