"""Reports on the rows that all their predictions have in common, so that a table may compare them.

Every report is made again from the files that it names, with its own settings; what differs in rows no longer does,
whatever else differs is refused as before.
"""

from collections.abc import Sequence
from pathlib import Path

from polyalign.errors import BadInput
from polyalign.files import StrPath, sha256_file
from polyalign.metrics.evaluate import evaluate
from polyalign.tables.entries import Entry, read_entry, replicates_file

_REQUIRED = ("records", "predictions")
_FEATURES = ("references", "human_features", "prediction_features")


def evaluate_on_common_rows(
    metric_files: Sequence[StrPath],
    out_dir: StrPath,
    *,
    mauve_model_dir: StrPath | None = None,
    threads: int = 1,
) -> list[Path]:
    """Evaluate the cells of some reports on the rows that all cells of their language answer.

    Args:
        metric_files: reports; the files that they were made from must be there, unchanged.
        out_dir: folder of the new reports `{cell}.json` and their replicates.
        mauve_model_dir: model that embeds texts for MAUVE, which reports do not name by folder; None for no MAUVE.

    Returns:
        The new reports, in the order given.

    Raises:
        BadInput: a file that a report was made from is missing or has changed, or no row is common to all.
    """
    entries = [read_entry(path) for path in metric_files]
    inputs = [_inputs(entry) for entry in entries]
    written = []
    for entry, files in zip(entries, inputs, strict=True):
        report = entry.report
        others = [
            other["predictions"]
            for peer, other in zip(entries, inputs, strict=True)
            if peer is not entry and peer.report.cell.language == report.cell.language
        ]
        path = Path(out_dir) / f"{report.cell.name}.json"
        generation = report.model_dump(include={"source", "prompt_mode", "decoding", "engine"})
        evaluate(
            *(files.get(name) for name in (*_REQUIRED, *_FEATURES)),
            settings=report.parameters,
            cell=report.cell.model_dump(),
            generation=generation,
            mauve_model_dir=mauve_model_dir,
            replicates_path=replicates_file(path) if report.parameters["bootstrap"] else None,
            common_with=others,
            seed=report.seed,
            threads=threads,
        ).save(path)
        written.append(path)
    return written


def _inputs(entry: Entry) -> dict[str, Path]:
    """The files that a report was made from, by name, looked for from here and from the folders above the report."""
    found = {}
    for name in (*_REQUIRED, *_FEATURES):
        stated = entry.report.inputs.get(name)
        if stated is None:
            continue
        places = [Path(stated.path), *(folder / stated.path for folder in entry.file.resolve().parents)]
        there = [place for place in places if place.is_file()]
        matching = [place for place in there if sha256_file(place) == stated.sha256]
        if not matching:
            raise BadInput(
                f"{stated.path}, its {name.replace('_', ' ')}, "
                + ("is another file now" if there else "is not to be found"),
                file=entry.file,
                expected="the files that the report was made from",
                fix="evaluate each cell again with --common-rows and the predictions of the others",
            )
        found[name] = matching[0]
    return found
