"""Pictures of a model's answers beside the human ones: a figure for the paper, a page to look around in, coordinates.

    draw_model("human.parquet", systems, "test.parquet", summary, settings, seed=42, out=Drawing.in_folder(folder), ...)

The same rows are drawn for every system, so that a question has as many points as there are systems, and one more.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from polyalign.answer_texts import choose_rows, predicted_texts
from polyalign.embeddings.page import Legend, Row, map_data, write_map
from polyalign.embeddings.projections import Projection, project_all
from polyalign.embeddings.settings import Embeddings
from polyalign.embeddings.space import read_common
from polyalign.errors import BadInput
from polyalign.files import StrPath, read_json, write_table
from polyalign.methods import HUMAN
from polyalign.plots.embeddings import Drawn, draw_embeddings, looks
from polyalign.records import normalize_text, read_records
from polyalign.tables.embeddings import encoder_words
from polyalign.tables.names import language_name, names_of


@dataclass(frozen=True)
class System:
    """A system's files: vectors of its answers, and the answers."""

    vectors: StrPath
    predictions: StrPath


@dataclass(frozen=True)
class Drawing:
    """Files that are drawn."""

    png: Path
    pdf: Path
    html: Path
    coordinates: Path

    @classmethod
    def in_folder(cls, folder: StrPath) -> "Drawing":
        """The usual names in a folder."""
        place = Path(folder)
        return cls(
            *(place / f"embeddings.{kind}" for kind in ("png", "pdf", "html")), place / "coordinates.parquet"
        )


def draw_model(
    human_file: StrPath,
    systems: Mapping[str, System],
    records: StrPath,
    summary: Mapping[str, Any],
    settings: Embeddings,
    *,
    seed: int,
    out: Drawing,
    name: str,
) -> dict[str, Any]:
    """Draw the answers of some systems, of one model as a rule.

    Args:
        human_file: vectors of the human answers.
        systems: in order.
        records: the split.
        summary: as `polyalign.embeddings.summary` makes it, for the figures that stand beside the pictures.
        seed: of the draw of rows and of the projections.
        name: of what is drawn, for the title; "" for none.

    Returns:
        Rows, projections and systems, for the manifest.
    """
    common, human, vectors = read_common(human_file, {key: each.vectors for key, each in systems.items()})
    rows = common[choose_rows(len(common), settings.figure_rows, seed)]
    whole = np.concatenate([human.at(rows), *(found.at(rows) for found in vectors.values())])
    projections = project_all(whole, settings, seed)
    language, encoder = summary["language"], summary["encoder"]
    title = f"{language_name(language)}: human and model answers as vectors" + (f", {name}" if name else "")
    labels = {key: names_of(key)[2] for key in systems}
    styles = looks([names_of(key)[1] for key in systems])
    notes = {key: f"AUC {summary['systems'][key]['overall']['auc']:.2f}" for key in systems}
    drawn = {
        key: Drawn(
            labels[key],
            notes[key],
            *styles[names_of(key)[1]],
            points=np.arange(len(rows)) + len(rows) * (place + 1),
        )
        for place, key in enumerate(systems)
    }
    draw_embeddings(projections, np.arange(len(rows)), drawn, title, out.png, out.pdf)
    legend = {key: Legend(each.label, each.colour, each.note) for key, each in drawn.items()}
    told = [
        encoder_words(encoder),
        (
            f"{len(rows):,} of {len(common):,} rows that all answer. AUC: how well a classifier tells a system's "
            "answers from the human ones, on all common rows; 0.5 is chance."
        ),
        "How far apart two clouds lie means little in t-SNE and UMAP.",
    ]
    data = map_data(
        _rows(records, {key: each.predictions for key, each in systems.items()}, rows),
        legend,
        projections,
        title=title,
        language=language,
        notes=told,
    )
    write_map(out.html, data)
    write_table(out.coordinates, _coordinates(rows, list(systems), projections))
    return {
        "language": language,
        "systems": list(systems),
        "rows": len(rows),
        "common_rows": len(common),
        "projections": [projection.name for projection in projections],
        "encoder": encoder,
    }


def _rows(records: StrPath, predictions: Mapping[str, StrPath], rows: np.ndarray) -> list[Row]:
    """What is told of the drawn rows: their records and every answer to them."""
    wanted = set(rows.tolist())
    kept = {index: record for index, record in enumerate(read_records(records)) if index in wanted}
    if len(kept) < len(wanted):
        raise BadInput(
            f"row {max(wanted)} is beyond the records",
            file=records,
            fix="give the records that were embedded",
        )
    answers = {index: {HUMAN: normalize_text(record["human_answer"])} for index, record in kept.items()}
    for system, path in predictions.items():
        for found in predicted_texts(path, records):
            if found.source_index in wanted:
                answers[found.source_index][system] = found.text or ""
    return [Row(index, kept[index], answers[index]) for index in rows.tolist()]


def _coordinates(rows: np.ndarray, systems: Sequence[str], projections: Sequence[Projection]) -> pa.Table:
    """A row an answer: system, source_index and where each projection puts it."""
    names = [HUMAN, *systems]
    columns: dict[str, Any] = {
        "system": pa.array([name for name in names for _ in rows], pa.string()),
        "source_index": pa.array(np.tile(rows, len(names)), pa.int64()),
    }
    for projection in projections:
        for axis, letter in enumerate("xy"):
            columns[f"{projection.name}_{letter}"] = pa.array(projection.places[:, axis], pa.float64())
    return pa.table(columns)


def draw_job(
    human_file: StrPath,
    vectors: Mapping[str, StrPath],
    predictions: Mapping[str, StrPath],
    records: StrPath,
    summary_file: StrPath,
    *,
    settings: Mapping[str, Any],
    seed: int,
    out: Drawing,
    name: str,
) -> dict[str, Any]:
    """`draw_model` from files and plain values; what a rule runs.

    Args:
        vectors, predictions: files by cell.
    """
    systems = {cell: System(vectors[cell], predictions[cell]) for cell in vectors}
    typed = Embeddings.model_validate(dict(settings))
    return draw_model(
        human_file, systems, records, read_json(summary_file), typed, seed=seed, out=out, name=name
    )
