"""Everything at once for answers from anywhere: vectors, figures, tables and pictures in one folder.

    python -m polyalign embeddings --records test.jsonl --predictions mine=a.jsonl --encoder DIR --out DIR

writes

    out/summary.json                       every figure, overall and by bucket
    out/embeddings_{lang}.{md,html,tex,csv}
    out/embeddings.{png,pdf,html}          the picture, and the page to look around in
    out/coordinates.parquet                where the pictures put each answer
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from polyalign.embeddings.draw import Drawing, System, draw_model
from polyalign.embeddings.encode import embed_files, load_encoder, read_texts
from polyalign.embeddings.settings import Embeddings
from polyalign.embeddings.summary import buckets_of, summarize
from polyalign.errors import BadInput
from polyalign.files import StrPath, made_folder, write_json
from polyalign.methods import HUMAN, refuse_oracles
from polyalign.records import read_records
from polyalign.settings import read_settings
from polyalign.tables.embeddings import build_embeddings


def language_of(records: StrPath) -> str:
    """Language of a split's records; raises `BadInput` where there are none or several."""
    languages = {record["language"] for record in read_records(records)}
    if len(languages) != 1:
        found = ", ".join(sorted(languages)) or "no records"
        raise BadInput(f"found {found}", file=records, field="language", expected="records of one language")
    return languages.pop()


def analyze_files(
    records: StrPath,
    predictions: Mapping[str, StrPath],
    encoder_dir: StrPath,
    out_dir: StrPath,
    *,
    options: Mapping[str, Any] | None = None,
    dtype: str = "float32",
    cache_dir: StrPath | None = None,
    seed: int = 42,
) -> dict[str, Any]:
    """Embed, compare, tabulate and draw predictions of a split beside its human answers.

    Args:
        predictions: files by the system's name; names of cells give their method its usual label and colour.
        encoder_dir: model folder.
        options: values of `polyalign.embeddings.settings.Embeddings`.
        dtype: precision of the encoder.
        cache_dir: folder of vectors, kept for the next call; None: nothing is kept.

    Returns:
        The summary.

    Raises:
        BadInput, BadInputs: broken input; nothing is written then.
    """
    settings = read_settings(Embeddings, options or {}, file="options", docs="docs/embeddings.md")
    _check_names(list(predictions))
    language = language_of(records)
    out = Path(out_dir)
    with TemporaryDirectory() as folder, made_folder(out):
        vectors = {
            name: Path(folder) / f"{place}.parquet" for place, name in enumerate([HUMAN, *predictions])
        }
        files = {vectors[name]: predictions.get(name) for name in vectors}
        texts = read_texts(records, files, settings, seed)
        encoder = load_encoder(encoder_dir, settings, dtype=dtype)
        embed_files(encoder, texts, settings, cache_dir=cache_dir)
        human = vectors.pop(HUMAN)
        summary = summarize(language, human, vectors, buckets_of(records), settings, seed)
        systems = {name: System(vectors[name], predictions[name]) for name in vectors}
        drawing = Drawing.in_folder(out)
        draw_model(human, systems, records, summary, settings, seed=seed, out=drawing, name="")
        build_embeddings(summary, out)
        write_json(out / "summary.json", summary)
    return summary


def _check_names(names: Sequence[str]) -> None:
    if not names:
        raise BadInput("no predictions", fix="give at least one file")
    if HUMAN in names:
        raise BadInput(f"a system cannot be called {HUMAN!r}", fix="give its predictions another name")
    refuse_oracles(names)


def told(summary: Mapping[str, Any]) -> list[str]:
    """A line a system: its figures in words."""
    lines = []
    for name, found in summary["systems"].items():
        figures = found["overall"]
        inside = (
            "" if figures["auc_low"] is None else f" [{figures['auc_low']:.3f}, {figures['auc_high']:.3f}]"
        )
        lines.append(
            f"{name}: AUC {figures['auc']:.3f}{inside}, energy distance {figures['energy']:.3f}, "
            f"Frechet distance {figures['frechet']:.3f} ({figures['frechet_chance']:.3f} by chance)"
        )
    return lines
