"""Raw corpora: mirroring, fetching and checking their files.

However the files of a corpus arrive, they arrive whole: they are gathered beside the target folder, checked, and put
in its place at the end.
"""

import os
import shutil
from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from polyalign.data.registry import HubPlace, SourceFile, SourcePlace, get_entry
from polyalign.downloads import HubRepository, download_folder, fetch_url
from polyalign.errors import BadInput
from polyalign.files import StrPath, atomic_directory, sha256_file
from polyalign.manifest import read_manifest

_INSTEAD = "set sources.mirror to a local folder"


def list_files(folder: StrPath) -> dict[str, dict[str, Any]]:
    """{name: sha256 and bytes} of the raw files below a folder, for its manifest."""
    root = Path(folder)
    names = sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())
    return {
        name: {"sha256": sha256_file(root / name), "bytes": (root / name).stat().st_size}
        for name in names
        if name != "manifest.json"
    }


def _describe(dataset: str, entry: SourcePlace, folder: StrPath, **more: str) -> dict[str, Any]:
    """What the manifest of a raw corpus says."""
    return {
        "dataset": dataset,
        **entry.origin,
        **more,
        "licence": entry.licence,
        "citation": entry.citation,
        "files": list_files(folder),
    }


def verify_source(folder: StrPath) -> dict[str, Any]:
    """Check a raw corpus against its manifest.json; returns the manifest's details.

    Raises:
        BadInput: a file is missing or changed since it was fetched, mirrored or generated.
    """
    root = Path(folder)
    details = read_manifest(root / "manifest.json")["details"]
    for name, expected in details["files"].items():
        path = root / name
        fix = "delete the corpus' manifest.json and run again, so that the file is fetched or mirrored anew"
        if not path.is_file():
            raise BadInput(f"raw file of {details['dataset']} is missing", file=path, fix=fix)
        if path.stat().st_size != expected["bytes"] or sha256_file(path) != expected["sha256"]:
            raise BadInput(
                f"raw file of {details['dataset']} changed",
                file=path,
                expected=f"sha256 {expected['sha256']}",
                fix=fix,
            )
    return details


def mirror_files(dataset: str, mirror_dir: StrPath, entry: SourcePlace) -> dict[Path, SourceFile]:
    """Files of `mirror_dir/{dataset}/` that the registry asks for, in the order of their names.

    Raises:
        BadInput: a file that the registry requires is not there.
    """
    root = Path(mirror_dir) / dataset
    present = [str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()]
    chosen: dict[str, SourceFile] = {}
    for file in entry.files:
        # A mirror may keep the layout of the source, such as data/train-*.parquet, or the flat one used here.
        names = _matching(present, file.path) or _matching(present, file.remote_name)
        if not names and file.required:
            raise BadInput(
                f"the mirror lacks a file of {dataset}",
                file=root / file.path,
                expected=f"the files listed for {dataset} in the corpus registry",
                fix="put the file there, or set sources.kind: hub to download it",
            )
        chosen |= dict.fromkeys(names, file)
    _require_some(dataset, chosen, root)
    return {root / name: chosen[name] for name in sorted(chosen)}


def mirror_source(
    dataset: str, mirror_dir: StrPath, out_dir: StrPath, *, entry: SourcePlace | None = None
) -> dict[str, Any]:
    """Copy a corpus' files from `mirror_dir/{dataset}/` to `out_dir`, checked.

    Args:
        entry: the corpus' entry, where it is not that of the registry that ships.

    Returns:
        dataset, origin, obtained, licence, citation and files {name: sha256 and bytes}.

    Raises:
        BadInput: a file that the registry lists is not in the mirror, or differs from its digest.
    """
    entry = entry or get_entry(dataset)
    root = Path(mirror_dir) / dataset
    chosen = mirror_files(dataset, mirror_dir, entry)
    with atomic_directory(out_dir) as staging:
        for source, file in chosen.items():
            target = staging / file.local_name(str(source.relative_to(root)))
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
            _check_digest(target, file, source, expected=file.sha256 or sha256_file(source))
    return _describe(dataset, entry, out_dir, obtained="mirror")


def fetch_source(
    dataset: str, out_dir: StrPath, *, entry: SourcePlace | None = None, endpoint: str | None = None
) -> dict[str, Any]:
    """Download a corpus' files at their revision to `out_dir`, one after another, checked.

    What has arrived stays in `download_folder(out_dir)` when a download fails, and is taken up by the next call.

    Args:
        entry: the corpus' entry, where it is not that of the registry that ships.
        endpoint: address of the hub, where it is not that of HF_ENDPOINT or the usual one.

    Returns:
        As `mirror_source`, and for the hub the commit that the revision stood for.

    Raises:
        BadInput: the repository, revision or a file is not there, access is refused, a download keeps failing, or
            a file differs from its digest.
    """
    entry = entry or get_entry(dataset)
    downloads = download_folder(out_dir)
    if entry.hub is not None:
        commit, arrived = _fetch_from_hub(dataset, entry, entry.hub, downloads, endpoint)
        more = {"commit": commit}
    else:
        arrived, more = _fetch_by_address(dataset, entry, downloads), {}
    with atomic_directory(out_dir) as staging:
        for name, path in arrived.items():
            target = staging / name
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(path, target)
    shutil.rmtree(downloads)
    return _describe(dataset, entry, out_dir, obtained="download", **more)


def _fetch_from_hub(
    dataset: str, entry: SourcePlace, hub: HubPlace, downloads: Path, endpoint: str | None
) -> tuple[str, dict[str, Path]]:
    """(commit that the revision stands for, {name below the corpus' folder: file that arrived})."""
    repository = HubRepository(
        kind="dataset",
        repo=hub.repo,
        revision=hub.revision,
        label=f"corpus {dataset}",
        fix=f"correct the entry of {dataset} in config/sources.yaml",
        instead=_INSTEAD,
        endpoint=endpoint,
    )
    snapshot = repository.resolve()
    chosen: dict[str, SourceFile] = {}
    for file in entry.files:
        names = _matching(snapshot.files, file.remote_name)
        if not names and file.required:
            raise BadInput(
                f"no file of {dataset} named {file.remote_name} at {hub.repo}, revision {hub.revision}",
                expected=f"one of its {len(snapshot.files)} files, such as {', '.join(list(snapshot.files)[:5])}",
                fix=f"correct `remote` of {dataset} in config/sources.yaml",
            )
        chosen |= dict.fromkeys(names, file)
    _require_some(dataset, chosen, hub.repo)
    arrived = {}
    for name, file in chosen.items():
        path = snapshot.download(name, downloads)
        _check_digest(path, file, f"{hub.repo}/{name}", file.sha256)
        arrived[file.local_name(name)] = path
    return snapshot.commit, arrived


def _fetch_by_address(dataset: str, entry: SourcePlace, downloads: Path) -> dict[str, Path]:
    """{name below the corpus' folder: file that arrived} of a corpus that is not on the hub."""
    arrived = {}
    for file in entry.files:
        url, path = f"{entry.base_url}{file.remote_name}", downloads / file.path
        fetch_url(url, path, f"corpus {dataset}", instead=_INSTEAD)
        try:
            _check_digest(path, file, url, file.sha256)
        except BadInput:
            # Without the hub nothing else tells that it is damaged, so the next try must not take it as it is.
            path.unlink()
            raise
        arrived[file.path] = path
    return arrived


def _matching(names: Iterable[str], pattern: str) -> list[str]:
    """The names that fit a pattern, in order."""
    return sorted(name for name in names if fnmatchcase(name, pattern))


def _require_some(dataset: str, chosen: Iterable[str], place: object) -> None:
    """Of files that may be missing one by one, at least one must be there."""
    if not list(chosen):
        raise BadInput(
            f"no file of {dataset} found", file=str(place), fix="check the place given for the corpus"
        )


def _check_digest(path: Path, file: SourceFile, origin: object, expected: str | None) -> None:
    """Raise `BadInput` unless the file has the digest expected of it, where one is."""
    if expected is not None and sha256_file(path) != expected:
        raise BadInput(
            "content differs from the registry" if file.sha256 else "copy differs from the original",
            file=str(origin),
            expected=f"sha256 {expected}",
            fix="get the file again, or correct its sha256 in config/sources.yaml",
        )
