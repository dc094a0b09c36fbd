"""A page of tables as one self-contained HTML file: style and figures inside, nothing loaded from elsewhere."""

import base64
import html
from collections.abc import Mapping, Sequence
from pathlib import Path

from polyalign.files import StrPath, write_text
from polyalign.tables.formats import header, main_text, small_texts, to_csv, to_latex, to_markdown
from polyalign.tables.model import Column, Page, Row, Table, Value

_STYLE = """
:root { color-scheme: light dark; --ink: #1d2430; --page: #fff; --line: #d7dce3; --soft: #647084; --head: #f4f6f9;
  --good: #0b6e4f; --bad: #a3420a; --band: #f9fafc; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ee; --page: #15181d; --line: #363c45; --soft: #98a2b3;
  --head: #20252c; --good: #5fd3a5; --bad: #f0a878; --band: #1a1e24; } }
* { box-sizing: border-box; }
body { background: var(--page); color: var(--ink); font: 15px/1.5 system-ui, "Segoe UI", "Noto Sans", sans-serif;
  margin: 0 auto; max-width: 100rem; padding: 1.6rem 1.4rem 3rem; }
h1 { font-size: 1.45rem; line-height: 1.25; margin: 0 0 .3rem; }
h2 { font-size: 1.08rem; margin: 2.2rem 0 .6rem; }
p { margin: .4rem 0; } p.lead { font-size: 1.02rem; max-width: 60rem; }
.notes { border-top: 1px solid var(--line); margin-top: 2.4rem; padding-top: .6rem; }
.note, .notes p { color: var(--soft); font-size: .88rem; margin: .3rem 0; max-width: 70rem; }
nav { display: flex; flex-wrap: wrap; gap: .2rem 1.1rem; margin-top: .8rem; }
nav a { color: var(--good); font-size: .9rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; min-width: 30rem; }
th, td { padding: .38rem .65rem; text-align: right; vertical-align: top; white-space: nowrap; }
thead th { background: var(--head); border-bottom: 1px solid var(--line); border-top: 2px solid var(--ink);
  font-size: .88rem; line-height: 1.3; max-width: 9.5rem; vertical-align: bottom; white-space: normal; }
thead th small, td small { color: var(--soft); display: block; font-size: .78rem; font-weight: 400; line-height: 1.3; }
th:first-child, td:first-child { background: var(--page); left: 0; position: sticky; text-align: left; }
thead th:first-child { background: var(--head); }
tbody tr:last-child td { border-bottom: 2px solid var(--ink); }
tbody tr:nth-child(even) td { background: var(--band); }
tr.model th { border-bottom: 1px solid var(--line); font-style: italic; padding-top: .8rem; text-align: left; }
td.words, th.words { max-width: 26rem; min-width: 8rem; text-align: left; white-space: normal; }
tr.human td, td.soft { color: var(--soft); } tr.human td { font-style: italic; }
td b { font-weight: 700; } td.good, td.good small { color: var(--good); } td.bad, td.bad small { color: var(--bad); }
figure { margin: 1.6rem 0 0; }
figure img { background: #fff; border: 1px solid var(--line); border-radius: 4px; max-width: 100%; }
"""


def to_html(page: Page, figures: Mapping[str, StrPath] | None = None) -> str:
    """The page; `figures` are PNG files by caption."""
    escape = html.escape
    parts = [
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>",
        "<meta name='viewport' content='width=device-width, initial-scale=1'>",
        f"<title>{escape(page.title)}</title><style>{_STYLE}</style></head><body>",
        f"<h1>{escape(page.title)}</h1>",
        f"<p class='lead'>{escape(page.lead)}</p>" if page.lead else "",
        _contents(page, list(figures or {})),
        *(_table(table) for table in page.tables),
        *(_figure(number, *figure) for number, figure in enumerate((figures or {}).items(), 1)),
    ]
    if page.notes:
        notes = "".join(f"<p>{escape(note)}</p>" for note in page.notes)
        parts.append(f"<footer class='notes'>{notes}</footer>")
    return "\n".join(part for part in [*parts, "</body></html>"] if part) + "\n"


def _contents(page: Page, captions: Sequence[str]) -> str:
    """Links to the tables and figures of a long page."""
    if len(page.tables) < 4:
        return ""
    places = [(_anchor(table), table.title) for table in page.tables]
    places += [(f"figure-{number}", f"Figure: {caption}") for number, caption in enumerate(captions, 1)]
    links = (f"<a href='#{anchor}'>{html.escape(title)}</a>" for anchor, title in places)
    return f"<nav>{' '.join(links)}</nav>"


def _anchor(table: Table) -> str:
    """The table's key as an identifier, which holds no spaces."""
    return html.escape(table.key.replace(" ", "-"), quote=True)


def _table(table: Table) -> str:
    escape = html.escape
    heads = "".join(
        f"<th scope='col'{' class=words' if column.words else ''}>{_head(column)}</th>"
        for column in table.columns
    )
    body = []
    for model in table.models:
        if len(table.models) > 1:
            span = len(table.columns) + 1
            body.append(f"<tr class='model'><th colspan='{span}' scope='rowgroup'>{escape(model)}</th></tr>")
        body += [_row(row, table) for row in table.rows if row.model == model]
    notes = "".join(f"<p class='note'>{escape(note)}</p>" for note in table.notes)
    of_model = f" <small>({escape(table.models[0])})</small>" if len(table.models) == 1 else ""
    return (
        f"<h2 id='{_anchor(table)}'>{escape(table.title)}</h2><div class='scroll'><table>"
        f"<thead><tr><th scope='col'>{escape(table.stub)}{of_model}</th>{heads}</tr></thead>"
        f"<tbody>{''.join(body)}</tbody></table></div>{notes}"
    )


def _head(column: Column) -> str:
    detail = f"<small>{html.escape(column.detail)}</small>" if column.detail else ""
    return html.escape(header(column)) + detail


def _row(row: Row, table: Table) -> str:
    cells = "".join(_cell(row.values[column.key], column) for column in table.columns)
    kind = " class='human'" if row.method == "human" else ""
    return f"<tr{kind}><td>{html.escape(row.label)}</td>{cells}</tr>"


def _cell(value: Value, column: Column) -> str:
    text = html.escape(main_text(value, column))
    text = f"<b>{text}</b>" if value.bold else text
    small = "".join(f"<small>{html.escape(line)}</small>" for line in small_texts(value, column))
    tone = value.tone or ("good" if value.bold else "")
    kind = " ".join(word for word in (tone, "words" if column.words else "") if word)
    return f"<td{f' class={kind!r}' if kind else ''}>{text}{small}</td>"


def _figure(number: int, caption: str, path: StrPath) -> str:
    image = base64.b64encode(Path(path).read_bytes()).decode()
    said = html.escape(caption, quote=True)
    source = f"data:image/png;base64,{image}"
    return f"<figure id='figure-{number}'><img alt='{said}' src='{source}'></figure>"


def write_page(page: Page, out: Path, figures: Mapping[str, StrPath] | None = None) -> list[Path]:
    """Write the page in every format below `out`; `figures` are PNG files by caption. Returns the files."""
    paths = {kind: out / f"{page.file_name}.{kind}" for kind in ("md", "html", "tex", "csv")}
    write_text(paths["md"], to_markdown(page))
    write_text(paths["html"], to_html(page, figures))
    write_text(paths["tex"], to_latex(page))
    write_text(paths["csv"], to_csv(page))
    return list(paths.values())
