"""Folders of record files: `{dataset}/{split}.jsonl`, as the command line writes and reads them."""

from collections.abc import Iterable
from pathlib import Path

from polyalign.errors import BadInput
from polyalign.files import StrPath

_SUFFIXES = (".jsonl", ".jsonl.gz", ".parquet")


def record_files(folder: StrPath) -> dict[str, dict[str, Path]]:
    """{dataset: {split: file}} of a tree `folder/{dataset}/{split}.jsonl` (or .jsonl.gz, .parquet).

    Raises:
        BadInput: there is no such tree, or a split stands in it twice.
    """
    root = Path(folder)
    files: dict[str, dict[str, Path]] = {}
    for path in sorted(root.glob("*/*")):
        suffix = next((suffix for suffix in _SUFFIXES if path.name.endswith(suffix)), None)
        if suffix is None or path.name.startswith("."):
            continue
        splits = files.setdefault(path.parent.name, {})
        split = path.name.removesuffix(suffix)
        if split in splits:
            raise BadInput(
                f"split stands here twice, also as {splits[split].name}", file=path, fix="remove one"
            )
        splits[split] = path
    if not files:
        raise BadInput(
            "no records found",
            file=root,
            expected="{dataset}/{split}.jsonl below this folder",
            fix="write them with `python -m polyalign format`",
        )
    return files


def group_by_corpus(paths: Iterable[StrPath]) -> dict[str, dict[str, StrPath]]:
    """{dataset: {split: file}} of files named `.../{dataset}/{split}.parquet`."""
    files: dict[str, dict[str, StrPath]] = {}
    for path in map(Path, paths):
        files.setdefault(path.parent.name, {})[path.stem] = path
    return files
