"""An interactive picture of the answers of a model's systems: one HTML file, which works offline.

    write_map("map.html", rows, systems, projections, title="English: tiny", language="en", notes=[...])

Hovering shows question and answer, colours are by method, dataset or bucket. The page's sources are in
resources/embeddings; `polyalign.web_page` puts them into one file, in which every text of the data stays text.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from polyalign.digest import ROOT
from polyalign.embeddings.projections import Projection
from polyalign.files import StrPath, write_text
from polyalign.plots.embeddings import HUMAN_COLOUR
from polyalign.web_page import render_page, source_digest

SOURCES = ROOT / "resources" / "embeddings"
SCRIPTS = ("plot.js", "app.js")
"""In the order they are run; each defines one name."""
LONGEST = 1500
"""Characters of a text that the page shows."""
_DIGITS = 4


@dataclass(frozen=True)
class Row:
    """A question of the picture: what is told of it, and the answers by system, "human" first."""

    source_index: int
    record: Mapping[str, Any]
    answers: Mapping[str, str]


@dataclass(frozen=True)
class Legend:
    """A system in the legend: its label, colour and figures in a few words."""

    label: str
    colour: str
    note: str = ""


def page_digest() -> str:
    """Digest of the page's sources."""
    return source_digest(SOURCES, SCRIPTS)


def shortened(text: str) -> str:
    """A text, or its beginning with a mark that says so."""
    return text if len(text) <= LONGEST else text[:LONGEST].rstrip() + " […]"


def map_data(
    rows: Sequence[Row],
    systems: Mapping[str, Legend],
    projections: Sequence[Projection],
    *,
    title: str,
    language: str,
    notes: Sequence[str] = (),
) -> dict[str, Any]:
    """What the page holds. Points are ordered by system, humans first, and by row within a system.

    Args:
        systems: without the humans, in order.
        projections: places (points, 2) in that order.

    Raises:
        ValueError: a projection has another number of points.
    """
    legend = {"human": Legend("Human", HUMAN_COLOUR), **systems}
    points = len(rows) * len(legend)
    for projection in projections:
        if len(projection.places) != points:
            raise ValueError(f"{projection.name}: {len(projection.places)} places for {points} answers")
    return {
        "title": title,
        "language": language,
        "notes": list(notes),
        "systems": [
            {"name": name, "label": each.label, "colour": each.colour, "note": each.note}
            for name, each in legend.items()
        ],
        "rows": [
            {
                "source_index": row.source_index,
                "id": row.record["id"],
                "dataset": row.record["dataset"],
                "bucket": row.record["bucket_id"],
                "question": shortened(row.record["question"]),
                "answers": [shortened(row.answers[name]) for name in legend],
            }
            for row in rows
        ],
        "projections": [
            {
                "name": projection.name,
                "title": projection.title,
                "axes": list(projection.axes),
                "places": np.round(_unit(projection.places), _DIGITS).tolist(),
            }
            for projection in projections
        ],
    }


def _unit(places: np.ndarray) -> np.ndarray:
    """Places (n, 2) moved and scaled to lie between -1 and 1, the same on both axes."""
    low, high = places.min(axis=0), places.max(axis=0)
    # Zero is added so that no -0.0 is written.
    return (places - (low + high) / 2) / max(float((high - low).max()) / 2, 1e-12) + 0.0


def write_map(out: StrPath, data: Mapping[str, Any]) -> None:
    """Write the page of `map_data`."""
    words = {"title": data["title"], "language": data["language"]}
    write_text(out, render_page(SOURCES, SCRIPTS, data, words))
