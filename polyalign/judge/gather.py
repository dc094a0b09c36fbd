"""Put the shards of a judge's work on a cell together: every row once, in order, all asked in the same way."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from polyalign.errors import BadInput, BadInputs
from polyalign.files import StrPath, write_jsonl
from polyalign.inference.gather import read_shards
from polyalign.inference.outcome import row_coverage
from polyalign.judge.replies import counts
from polyalign.judge.rows import JudgedRow, draw_rows
from polyalign.judge.settings import ASKED, WAYS
from polyalign.records import read_records

SAME = ("judge", "cell", "rubric", "template_sha256", "decoding", "engine")
"""Details that the shards must share."""


def gather_judgements(
    records: StrPath,
    manifests: Sequence[StrPath],
    out: StrPath,
    probes: StrPath,
    *,
    rows: int | None,
    seed: int,
) -> dict[str, Any]:
    """Write the judgements of all shards to `out`, those of probes to `probes`, by source_index.

    Args:
        records: the split, to know which rows were to be judged.
        manifests: of each shard.
        rows, seed: of the draw of rows.

    Returns:
        Details for the manifest: those that the shards share, coverage and counts.

    Raises:
        BadInput: shards that were made in different ways, or whose files are not what their manifests say.
        BadInputs: rows that no shard judged, or two did.
    """
    found, shared = read_shards(manifests, SAME, key=("source_index", "asked"))
    every = [JudgedRow(index, record, None) for index, record in enumerate(read_records(records))]
    wanted = {row.source_index: row for row in draw_rows(every, rows, seed)}
    there = {index for index, way in found if way == ASKED}
    wrong = [
        BadInput(
            "no shard judged this row" if index in wanted else "a row that was not to be judged",
            file=Path(out),
            id=wanted[index].id if index in wanted else None,
            field=f"source_index {index}",
            fix="delete the shards of the cell and make them again",
        )
        for index in sorted(there ^ set(wanted))
    ]
    if wrong:
        raise BadInputs(wrong)
    ordered = sorted(found.items(), key=lambda item: (WAYS.index(item[0][1]), item[0][0]))
    tables = {
        kind: [row for (_, way), row in ordered if (way == ASKED) == (kind == ASKED)]
        for kind in (ASKED, "probes")
    }
    write_jsonl(probes, tables["probes"])
    write_jsonl(out, tables[ASKED])
    return {
        **{name: shared[name] for name in SAME},
        "shards": len(manifests),
        "coverage": row_coverage(wanted),
        **counts(tables[ASKED]),
        "probes": counts(tables["probes"]),
    }
