"""A table of methods as Markdown, HTML, LaTeX and CSV."""

import base64
import csv
import html
import io
from pathlib import Path

from polyalign.files import StrPath, atomic_path
from polyalign.metrics.bootstrap import Difference
from polyalign.table_data import Column, Table, Value

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
    }
)
_STYLE = """
:root { color-scheme: light dark; --line: #d0d5dd; --soft: #667085; --head: #f2f4f7; --best: #0b6e4f; }
@media (prefers-color-scheme: dark) { :root { --line: #3a3f47; --soft: #98a2b3; --head: #23272e; --best: #5fd3a5; } }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 110rem; padding: 0 1rem; }
h1 { font-size: 1.3rem; } h2 { font-size: 1.05rem; margin-top: 2rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; width: 100%; }
th, td { padding: .35rem .7rem; text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
thead th { background: var(--head); border-bottom: 1px solid var(--line); border-top: 1px solid var(--line); }
tbody tr.model th { text-align: left; padding-top: 1rem; border-bottom: 1px solid var(--line); }
tbody tr.human td { color: var(--soft); font-style: italic; border-bottom: 1px solid var(--line); }
td small { color: var(--soft); display: block; font-size: .78em; }
td.best b { color: var(--best); }
figcaption, p.note { color: var(--soft); }
img { max-width: 100%; background: #fff; border-radius: 4px; }
"""


def number(value: float | None, digits: int) -> str:
    """A value with fixed digits, or a dash."""
    return "–" if value is None else f"{value:.{digits}f}"


def bracket(value: Value, digits: int) -> str:
    """The interval in brackets, or nothing."""
    return "" if value.low is None else f"[{number(value.low, digits)}, {number(value.high, digits)}]"


def _signed(found: Difference, column: Column) -> str:
    d = column.digits
    return f"{found.estimate:+.{d}f} [{found.low:+.{d}f}, {found.high:+.{d}f}]"


def _verdict(found: Difference, column: Column) -> str:
    """`better`, `worse`, `differs` (where neither direction is better) or `noise`."""
    if not found.beyond_noise:
        return "noise"
    if not column.direction:
        return "differs"
    return "better" if found.estimate * column.direction > 0 else "worse"


def _header(column: Column) -> str:
    return f"{column.header} {column.arrow}".strip()


def _markdown_row(cells: list[str]) -> str:
    return "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |"


def to_markdown(table: Table) -> str:
    """GitHub Markdown, intervals in the cells."""
    lines = [f"## {table.title}", "", " ".join(table.notes), ""]
    lines += [_markdown_row(["Model", "Method", *(_header(column) for column in table.columns)])]
    lines += ["|" + " --- | --- |" + " ---: |" * len(table.columns)]
    for row in table.rows:
        cells = []
        for column in table.columns:
            value = row.values[column.key]
            text = number(value.estimate, column.digits)
            text = f"**{text}**" if value.bold else text
            cells.append(f"{text} {bracket(value, column.digits)}".strip())
        lines.append(_markdown_row([row.model, row.label, *cells]))
    if table.comparisons:
        columns = _compared_columns(table)
        lines += ["", "### Paired differences from base and SFT", ""]
        lines += [_markdown_row(["Model", "Difference", *(_header(column) for column in columns)])]
        lines += ["|" + " --- | --- |" + " ---: |" * len(columns)]
        for comparison in table.comparisons:
            cells = [
                f"{_signed(found, column)} {_verdict(found, column)}"
                if (found := comparison.differences.get(column.key))
                else "–"
                for column in columns
            ]
            label = f"{comparison.label} − {comparison.baseline}"
            lines.append(_markdown_row([comparison.model, label, *cells]))
    return "\n".join(lines) + "\n"


def _compared_columns(table: Table) -> list[Column]:
    keys = {key for comparison in table.comparisons for key in comparison.differences}
    return [column for column in table.columns if column.key in keys]


def to_html(table: Table, figure: StrPath | None = None) -> str:
    """One self-contained page: style and figure inside, nothing loaded."""
    escape = html.escape
    head = "".join(f"<th scope='col'>{escape(_header(column))}</th>" for column in table.columns)
    body = []
    for model in table.models:
        span = len(table.columns) + 1
        body.append(f"<tr class='model'><th colspan='{span}' scope='rowgroup'>{escape(model)}</th></tr>")
        for row in (row for row in table.rows if row.model == model):
            cells = "".join(_html_cell(row.values[column.key], column) for column in table.columns)
            kind = " class='human'" if row.method == "human" else ""
            body.append(f"<tr{kind}><td>{escape(row.label)}</td>{cells}</tr>")
    parts = [
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>",
        "<meta name='viewport' content='width=device-width, initial-scale=1'>",
        f"<title>{escape(table.title)}</title><style>{_STYLE}</style></head><body>",
        f"<h1>{escape(table.title)}</h1>",
        f"<div class='scroll'><table><thead><tr><th scope='col'>Method</th>{head}</tr></thead>",
        f"<tbody>{''.join(body)}</tbody></table></div>",
        f"<p class='note'>{escape(' '.join(table.notes))}</p>",
        _html_comparisons(table),
    ]
    if figure is not None:
        image = base64.b64encode(Path(figure).read_bytes()).decode()
        parts.append(f"<figure><img alt='F1 and BNG by method' src='data:image/png;base64,{image}'></figure>")
    return "\n".join([*parts, "</body></html>"]) + "\n"


def _html_cell(value: Value, column: Column) -> str:
    text = number(value.estimate, column.digits)
    text = f"<b>{text}</b>" if value.bold else text
    interval = bracket(value, column.digits)
    small = f"<small>{interval}</small>" if interval else ""
    best = " class='best'" if value.bold else ""
    return f"<td{best}>{text}{small}</td>"


def _html_comparisons(table: Table) -> str:
    if not table.comparisons:
        return ""
    escape, columns = html.escape, _compared_columns(table)
    head = "".join(f"<th scope='col'>{escape(_header(column))}</th>" for column in columns)
    rows = []
    for comparison in table.comparisons:
        cells = []
        for column in columns:
            found = comparison.differences.get(column.key)
            if found is None:
                cells.append("<td>–</td>")
                continue
            d, verdict = column.digits, _verdict(found, column)
            best = " class='best'" if verdict == "better" else ""
            text = f"<b>{found.estimate:+.{d}f}</b>" if verdict == "better" else f"{found.estimate:+.{d}f}"
            small = f"[{found.low:+.{d}f}, {found.high:+.{d}f}] {verdict}"
            cells.append(f"<td{best}>{text}<small>{small}</small></td>")
        label = f"{comparison.model}: {comparison.label} − {comparison.baseline}"
        rows.append(f"<tr><td>{escape(label)}</td>{''.join(cells)}</tr>")
    return (
        "<h2>Paired differences from base and SFT</h2><div class='scroll'><table>"
        f"<thead><tr><th scope='col'>Difference</th>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def to_latex(table: Table) -> str:
    """A booktabs table; needs \\usepackage{booktabs}."""
    arrows = {1: r"$\uparrow$", -1: r"$\downarrow$", 0: ""}
    heads = [
        f"{column.header.translate(_LATEX)} {arrows[column.direction]}".strip() for column in table.columns
    ]
    lines = [
        r"\begin{table*}[t]",
        r"\centering\small",
        r"\begin{tabular}{l" + "r" * len(table.columns) + "}",
        r"\toprule",
        " & ".join(["Method", *heads]) + r" \\",
    ]
    for model in table.models:
        name = model.translate(_LATEX)
        lines += [r"\midrule", rf"\multicolumn{{{len(table.columns) + 1}}}{{l}}{{\textit{{{name}}}}} \\"]
        for row in (row for row in table.rows if row.model == model):
            cells = []
            for column in table.columns:
                value = row.values[column.key]
                text = "--" if value.estimate is None else number(value.estimate, column.digits)
                text = rf"\textbf{{{text}}}" if value.bold else text
                interval = bracket(value, column.digits)
                cells.append(rf"{text} {{\scriptsize {interval}}}" if interval else text)
            lines.append(" & ".join([row.label.translate(_LATEX), *cells]) + r" \\")
    caption = " ".join([f"{table.title}.", *table.notes]).translate(_LATEX)
    lines += [r"\bottomrule", r"\end{tabular}", rf"\caption{{{caption}}}"]
    lines += [rf"\label{{tab:main-{table.language}}}", r"\end{table*}"]
    return "\n".join(lines) + "\n"


_CSV_HEADER = (
    "language,model,method,metric,direction,estimate,low,high,best,"
    "baseline,difference,difference_low,difference_high,p_value"
)


def to_csv(table: Table) -> str:
    """Long form, full precision: a line a model, method and metric, with the difference from the baseline."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(_CSV_HEADER.split(","))
    compared = {(comparison.model, comparison.label): comparison for comparison in table.comparisons}
    for row in table.rows:
        comparison = compared.get((row.model, row.label))
        for column in table.columns:
            value = row.values[column.key]
            numbers = ["" if n is None else repr(n) for n in (value.estimate, value.low, value.high)]
            found = comparison.differences.get(column.key) if comparison else None
            test = [""] * 5
            if comparison and found:
                test = [comparison.baseline, found.estimate, found.low, found.high, found.p_value]
            names = [table.language, row.model, row.method, column.key, column.direction]
            writer.writerow([*names, *numbers, int(value.bold), *test])
    return buffer.getvalue()


def write_text(path: StrPath, text: str) -> None:
    """Write UTF-8 text, atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
