"""Put the shards of a split's answers together: every row once, in order, and all made in the same way."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from polyalign.errors import BadInput, BadInputs
from polyalign.files import StrPath, read_jsonl, write_jsonl
from polyalign.inference.outcome import in_order, outcome, row_coverage, warn
from polyalign.inference.runner import read_sources
from polyalign.manifest import check_files, read_manifest

SAME = ("cell", "split", "prompt_mode", "oracle", "template_sha256", "decoding_sha256", "engine", "source")
"""Details that the shards of a split must share, where they state them."""


def gather_predictions(
    records_path: StrPath, manifests: Sequence[StrPath], out_path: StrPath
) -> dict[str, Any]:
    """Write the predictions of all shards to `out_path`, ordered by source_index.

    Args:
        records_path: the records that the shards answered, all together.
        manifests: manifest of each shard; it names the shard's predictions.
        out_path: JSONL, as `polyalign.inference.runner.generate_predictions` writes it.

    Returns:
        Details for the manifest: those that the shards share, coverage and counts of the whole split.

    Raises:
        BadInput: shards that were made in different ways, or whose files are not what their manifests say.
        BadInputs: rows that no shard answered or two did; each is named.
    """
    found, shared = read_shards(manifests, SAME)
    answered = {index: row for (index,), row in found.items()}
    sources = read_sources(records_path)
    rows = in_order(sources, answered, out_path)
    write_jsonl(out_path, rows)
    details = {
        **{name: shared[name] for name in SAME if name in shared},
        "decoding": shared["decoding"],
        "shards": len(manifests),
        "coverage": row_coverage(sources),
        **outcome(rows, sources, shared["prompt_mode"]),
    }
    return {**details, "warnings": warn(details)}


def read_shards(
    manifests: Sequence[StrPath], same: Sequence[str], key: Sequence[str] = ("source_index",)
) -> tuple[dict[tuple[Any, ...], dict[str, Any]], dict[str, Any]]:
    """({key of a row: row} of all shards, details of the first).

    Args:
        manifests: of each shard; they name its files.
        same: details that the shards must share, where they state them.
        key: fields that name a row.

    Raises:
        BadInput: shards that were made in different ways, or whose files are not what their manifests say.
        BadInputs: rows that two shards have.
    """
    shards = [(Path(path), read_manifest(path)) for path in manifests]
    first, shared = shards[0][0], shards[0][1]["details"]
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    twice: list[BadInput] = []
    for path, manifest in shards:
        _check_same(path, manifest["details"], first, shared, same)
        check_files(manifest, file=path)
        for file in manifest["outputs"]:
            for line, row in read_jsonl(file):
                name = tuple(row[field] for field in key)
                if name in found:
                    twice.append(BadInput("another shard has this row", file=file, row=line, field=key[0]))
                found[name] = row
    if twice:
        raise BadInputs(twice)
    return found, shared


def _check_same(
    path: Path, details: Mapping[str, Any], first: Path, shared: Mapping[str, Any], same: Sequence[str]
) -> None:
    for name in same:
        if details.get(name) != shared.get(name):
            raise BadInput(
                f"this shard was made in another way than {first.name}",
                file=path,
                field=name,
                expected=f"{shared.get(name)!r:.100}",
                fix="delete the shards of the split and make them again",
            )
