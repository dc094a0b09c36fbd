"""The NLTK data that `paper-v1` is measured with: each file known by its content, found, fetched and checked.

    gather_nltk_data("resources/nltk_data")                              # from NLTK's folders, else downloaded
    gather_nltk_data("resources/nltk_data", mirror="/data/nltk_data")    # from a local copy alone

config/nltk_data.yaml lists the packages with their addresses and the sha256 of every file. A file with another content
is never used: feature values would change without a word (NLTK's English stop words grew by 19 in 2025).
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

from pydantic import Field

from polyalign.archives import member_names, open_zip, read_member
from polyalign.downloads import fetch_url
from polyalign.errors import BadInput, PolyAlignError
from polyalign.files import StrPath, atomic_path
from polyalign.settings import Settings, read_settings, read_yaml
from polyalign.slim_import import slim_import

REGISTRY = Path(__file__).resolve().parents[2] / "config" / "nltk_data.yaml"
COMMAND = "python -m polyalign nltk-data --out resources/nltk_data"
"""What puts a wrong or missing file right, for messages."""

_chosen: list[Path] = []


class Package(Settings):
    """A package of NLTK data: addresses of its zip and {file: sha256}, files named as in NLTK's folders."""

    urls: Annotated[list[str], Field(min_length=1)]
    files: dict[str, Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]]


@cache
def load_packages(registry: StrPath = REGISTRY) -> dict[str, Package]:
    """The packages of the registry by name, in its order; raises `BadInputs` where an entry is wrong."""
    return {
        name: read_settings(Package, values, file=registry, docs="docs/features.md", at=name)
        for name, values in read_yaml(registry).items()
    }


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def use_folder(folder: StrPath | None) -> None:
    """Read NLTK data from `folder` alone, in this process and those it forks; None: from NLTK's own folders."""
    _chosen[:] = [] if folder is None else [Path(folder)]


def search_folders() -> list[Path]:
    """Folders that are searched: the one chosen by `use_folder`, else NLTK's, those of NLTK_DATA first."""
    return list(_chosen) or [Path(folder) for folder in slim_import("nltk.data").path]


def _candidates(folder: Path, name: str) -> Iterator[bytes]:
    """Contents that a folder holds under a file's name: plain, and inside the package's zip."""
    plain = folder / name
    if plain.is_file():
        yield plain.read_bytes()
    kind, package, _ = name.split("/", 2)
    archive = folder / kind / f"{package}.zip"
    if archive.is_file():
        yield from _unzip(archive, [name]).values()


def _unzip(archive: Path, names: Sequence[str]) -> dict[str, bytes]:
    """Contents of files of a package's zip, inside which the folder of their kind is missing; those that are there."""
    with open_zip(archive, "fetch the file again") as opened:
        present = set(member_names(opened))
        members = {name: name.split("/", 1)[1] for name in names}
        return {name: read_member(opened, member) for name, member in members.items() if member in present}


def _find(name: str, expected: str, folders: Sequence[Path]) -> tuple[bytes | None, list[Path]]:
    """(content as pinned or None, folders that hold another content under the name)."""
    different = []
    for folder in folders:
        for content in _candidates(folder, name):
            if _digest(content) == expected:
                return content, different
            different.append(folder)
    return None, different


def read_package(name: str) -> dict[str, bytes]:
    """{last part of the file's name: content} of a package, each file as the registry states it.

    Raises:
        PolyAlignError: a file is missing or differs; the message names it and the command that gets it.
    """
    found = {}
    for file, expected in load_packages()[name].files.items():
        content, different = _find(file, expected, search_folders())
        if content is None:
            raise _unusable(name, file, expected, different)
        found[file.rsplit("/", 1)[1]] = content
    return found


def _unusable(package: str, file: str, expected: str, different: Sequence[Path]) -> PolyAlignError:
    where = _chosen[0] / file if _chosen else Path(file)
    command = COMMAND.replace("resources/nltk_data", str(_chosen[0])) if _chosen else COMMAND
    problem = f"differs from the pinned one ({different[0] / file})" if different else "was not found"
    after = "" if _chosen else " and set NLTK_DATA=resources/nltk_data"
    return PolyAlignError(
        f"feature set paper-v1 needs the NLTK data file {where} of package '{package}', which {problem}; "
        f"expected sha256 {expected[:16]}...; get it with: {command}{after}"
    )


def package_digest(name: str) -> str:
    """Short digest of a package's files as pinned, for feature files."""
    files = load_packages()[name].files
    return _digest("\n".join(f"{file} {digest}" for file, digest in sorted(files.items())).encode())[:16]


def gather_nltk_data(out: StrPath, mirror: StrPath | None = None) -> dict[str, Any]:
    """Put every file of the registry into the folder `out`, in NLTK's layout, checked.

    Args:
        out: folder to write to.
        mirror: a local folder in NLTK's layout (such as NLTK_DATA) to copy from. None: from NLTK's own folders where
            they hold a file as pinned, else by download.

    Returns:
        Details for a manifest: {package: {obtained, files: {name: sha256}}}.

    Raises:
        BadInput: the mirror lacks a file or holds another content; a download fails or brings another content.
    """
    if mirror is not None and not Path(mirror).is_dir():
        raise BadInput("no such folder", file=mirror, fix="correct the mirror of the NLTK data")
    folders = [Path(mirror)] if mirror is not None else [Path(p) for p in slim_import("nltk.data").path]
    gathered: dict[str, bytes] = {}
    details = {}
    for name, package in load_packages().items():
        found = {file: _find(file, digest, folders) for file, digest in package.files.items()}
        contents = {file: content for file, (content, _) in found.items() if content is not None}
        obtained = "local copy"
        if len(contents) < len(found):
            if mirror is not None:
                raise _not_in_mirror(name, package, found, Path(mirror))
            contents, obtained = _download(name, package), "download"
        gathered |= contents
        details[name] = {"obtained": obtained, "files": dict(package.files)}
    # Nothing is written before everything is there; other data in the folder stay.
    for file, content in gathered.items():
        with atomic_path(Path(out) / file) as temporary:
            temporary.write_bytes(content)
    return {"packages": details}


def _not_in_mirror(
    name: str, package: Package, found: Mapping[str, tuple[bytes | None, list[Path]]], mirror: Path
) -> BadInput:
    file, (_, different) = next(item for item in found.items() if item[1][0] is None)
    problem = "content differs from the pinned one" if different else "the mirror lacks a file"
    return BadInput(
        f"{problem}, of NLTK package '{name}'",
        file=mirror / file,
        expected=f"sha256 {package.files[file]}",
        fix=f"put {file} there, or get it with: {COMMAND}",
    )


def _download(name: str, package: Package) -> dict[str, bytes]:
    """Files of a package from the first of its addresses that has them as pinned."""
    problems = []
    for url in package.urls:
        with TemporaryDirectory() as folder:
            archive = Path(folder) / f"{name}.zip"
            try:
                fetch_url(url, archive, f"NLTK package {name}", instead="use a local copy")
                contents = _unzip(archive, list(package.files))
            except BadInput as error:
                problems.append(str(error).split(";")[0])
                continue
        wrong = [file for file, digest in package.files.items() if _digest(contents.get(file, b"")) != digest]
        if not wrong:
            return contents
        problems.append(f"{url} has another {wrong[0]} than the pinned one")
    raise BadInput(
        f"NLTK package '{name}' cannot be fetched: {'; '.join(problems)}",
        fix="set features.nltk_mirror (or --mirror) to a folder of NLTK data, or NLTK_DATA, that holds "
        + next(iter(package.files)),
    )
