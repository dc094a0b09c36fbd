"""Raw corpora: the registry of where they come from, and mirroring, fetching and checking their files.

config/sources.yaml is the registry, an entry a corpus. However the files of a corpus arrive, they arrive
whole: they are gathered beside the target folder, checked, and put in its place at the end.
"""

import shutil
import time
from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field, model_validator

from polyalign.corpora.catalogue import CORPORA, get_corpus
from polyalign.errors import BadInput
from polyalign.files import StrPath, atomic_directory, sha256_file
from polyalign.manifest import read_manifest
from polyalign.settings import Settings, nearest, read_settings, read_yaml

REGISTRY = Path(__file__).resolve().parent.parent / "config" / "sources.yaml"
ATTEMPTS = 4
"""Tries of one download; the wait before each is twice the wait before the last."""
_FIRST_WAIT_S = 2.0
_TIMEOUT_S = 60.0

T = TypeVar("T")


class HubPlace(Settings):
    """A dataset repository on the hub at a branch, tag or commit."""

    repo: str = Field(pattern=r"^[\w.-]+/[\w.-]+$")
    revision: str = "main"


class SourceFile(Settings):
    """A raw file, or with `*` in its name a family of them."""

    path: str
    """Name below the corpus' folder."""
    remote: str | None = None
    """Name at the source, where it differs."""
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    required: bool = True

    @property
    def remote_name(self) -> str:
        return self.remote or self.path

    def local_name(self, remote: str) -> str:
        """Name below the corpus' folder of a file named `remote` at the source."""
        return (
            str(PurePosixPath(self.path).parent / PurePosixPath(remote).name)
            if "*" in self.path
            else self.path
        )

    @model_validator(mode="after")
    def _check(self) -> "SourceFile":
        for name in (self.path, self.remote_name):
            parts = PurePosixPath(name)
            if parts.is_absolute() or ".." in parts.parts:
                raise ValueError(f"{name} points outside the folder")
        if ("*" in self.path) != ("*" in self.remote_name):
            raise ValueError("path and remote must both have a * or none")
        if "*" in self.path and self.sha256:
            raise ValueError("a digest belongs to one file, not to a name with *")
        return self


class SourceEntry(Settings):
    """Where one corpus comes from, under which licence, and what it consists of."""

    language: Literal["en", "zh"]
    licence: str
    citation: str
    hub: HubPlace | None = None
    base_url: str | None = None
    """Address that the files' names are appended to, for a corpus whose files are not on the hub."""
    hub_page: str | None = None
    """The hub repository such a corpus is known by."""
    files: Annotated[list[SourceFile], Field(min_length=1)]

    @model_validator(mode="after")
    def _check(self) -> "SourceEntry":
        if (self.hub is None) == (self.base_url is None):
            raise ValueError("give either hub or base_url")
        if self.base_url is not None and any("*" in file.path for file in self.files):
            raise ValueError("files below a base_url must be named one by one")
        return self

    @property
    def origin(self) -> dict[str, str]:
        """Where the files come from, for manifests."""
        if self.hub is not None:
            return {"hub": self.hub.repo, "revision": self.hub.revision}
        return {"base_url": self.base_url or ""}


def load_registry(path: StrPath = REGISTRY) -> dict[str, SourceEntry]:
    """Read and check the registry.

    Raises:
        BadInput, BadInputs: the file is missing or not YAML, names an unknown corpus, or an entry is wrong.
    """
    entries: dict[str, SourceEntry] = {}
    for dataset, values in read_yaml(path).items():
        if dataset not in CORPORA:
            raise BadInput(f"unknown corpus {dataset!r}", file=path, fix=nearest(dataset, list(CORPORA)))
        if not isinstance(values, dict):
            raise BadInput("not an entry", file=path, field=dataset, expected="a mapping of keys to values")
        entries[dataset] = read_settings(SourceEntry, values, file=path, docs="docs/data.md", at=dataset)
    return entries


def get_entry(dataset: str, registry: StrPath = REGISTRY) -> SourceEntry:
    """The registry's entry of one corpus."""
    get_corpus(dataset)
    entries = load_registry(registry)
    if dataset not in entries:
        raise BadInput(
            "corpus is not in the registry", file=registry, field=dataset, fix="add an entry for it"
        )
    return entries[dataset]


def list_files(folder: StrPath) -> dict[str, dict[str, Any]]:
    """{name: sha256 and bytes} of the raw files below a folder, for its manifest."""
    root = Path(folder)
    names = sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())
    return {
        name: {"sha256": sha256_file(root / name), "bytes": (root / name).stat().st_size}
        for name in names
        if name != "manifest.json"
    }


def _describe(dataset: str, entry: SourceEntry, folder: StrPath, **more: str) -> dict[str, Any]:
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


def mirror_source(
    dataset: str, mirror_dir: StrPath, out_dir: StrPath, *, entry: SourceEntry | None = None
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
    with atomic_directory(out_dir) as staging:
        for name, file in chosen.items():
            target = staging / file.local_name(name)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(root / name, target)
            _check_digest(target, file, root / name, expected=file.sha256 or sha256_file(root / name))
    return _describe(dataset, entry, out_dir, obtained="mirror")


def fetch_source(
    dataset: str, out_dir: StrPath, *, entry: SourceEntry | None = None, endpoint: str | None = None
) -> dict[str, Any]:
    """Download a corpus' files at their revision to `out_dir`, checked.

    Args:
        entry: the corpus' entry, where it is not that of the registry that ships.
        endpoint: address of the hub, where it is not the usual one (a company's own mirror).

    Returns:
        As `mirror_source`, and for the hub the commit that the revision stood for.

    Raises:
        BadInput: the repository, revision or a file is not there, access is refused, or a download keeps failing.
    """
    entry = entry or get_entry(dataset)
    with atomic_directory(out_dir) as staging:
        if entry.hub is not None:
            commit = _fetch_from_hub(dataset, entry, entry.hub, staging, endpoint)
            more = {"commit": commit}
        else:
            for file in entry.files:
                _fetch_url(f"{entry.base_url}{file.remote_name}", staging / file.path, dataset)
                _check_digest(staging / file.path, file, f"{entry.base_url}{file.remote_name}", file.sha256)
            more = {}
    return _describe(dataset, entry, out_dir, obtained="download", **more)


def _fetch_from_hub(
    dataset: str, entry: SourceEntry, hub: HubPlace, staging: Path, endpoint: str | None
) -> str:
    """Download the entry's files at the commit that its revision stands for; returns that commit."""
    # Only a download needs the hub's client; mirrors and the demo do without it.
    from huggingface_hub import HfApi, hf_hub_download

    info = _on_hub(
        lambda: HfApi(endpoint=endpoint).dataset_info(hub.repo, revision=hub.revision), dataset, hub
    )
    present = [sibling.rfilename for sibling in info.siblings or []]
    chosen: dict[str, SourceFile] = {}
    for file in entry.files:
        names = _matching(present, file.remote_name)
        if not names and file.required:
            raise BadInput(
                f"no file of {dataset} named {file.remote_name} at {hub.repo}, revision {hub.revision}",
                expected=f"one of its {len(present)} files, such as {', '.join(present[:5])}",
                fix=f"correct `remote` of {dataset} in config/sources.yaml",
            )
        chosen |= dict.fromkeys(names, file)
    _require_some(dataset, chosen, hub.repo)
    downloads = staging / ".downloads"
    for name, file in chosen.items():
        got = _on_hub(
            lambda name=name: hf_hub_download(
                hub.repo, name, repo_type="dataset", revision=info.sha, local_dir=downloads, endpoint=endpoint
            ),
            dataset,
            hub,
        )
        target = staging / file.local_name(name)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(got, target)
        _check_digest(target, file, f"{hub.repo}/{name}", file.sha256)
    shutil.rmtree(downloads, ignore_errors=True)
    return str(info.sha)


def _on_hub(call: Callable[[], T], dataset: str, hub: HubPlace) -> T:
    """Call the hub, trying again while the network fails; errors that stay become one line."""
    from huggingface_hub import errors

    place = f"{dataset} at {hub.repo}, revision {hub.revision}"
    try:
        return _retried(call, (OSError, errors.HfHubHTTPError), permanent=_is_permanent)
    except errors.GatedRepoError:
        raise BadInput(
            f"access to {place} is refused", fix="accept its terms on the hub and log in, or mirror it"
        ) from None
    except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError, errors.EntryNotFoundError) as error:
        raise BadInput(
            f"{place} is not there ({type(error).__name__})", fix="correct its entry in config/sources.yaml"
        ) from None
    except (OSError, errors.HfHubHTTPError) as error:
        raise BadInput(
            f"downloading {place} failed ({error})",
            fix="check the network, or set sources.mirror to a local folder",
        ) from None


def _is_permanent(error: Exception) -> bool:
    """Whether trying again cannot help: the hub said no, or this machine is told to stay offline."""
    from huggingface_hub import errors

    answered = getattr(getattr(error, "response", None), "status_code", None)
    offline = isinstance(error, errors.OfflineModeIsEnabled)
    return offline or (answered is not None and 400 <= answered < 500 and answered != 429)


def _fetch_url(url: str, target: Path, dataset: str) -> None:
    """Download one file."""
    from urllib.error import HTTPError
    from urllib.request import urlopen

    def download() -> None:
        with urlopen(url, timeout=_TIMEOUT_S) as response, open(target, "wb") as handle:
            shutil.copyfileobj(response, handle)
            announced = response.headers.get("Content-Length")
        if announced is not None and target.stat().st_size != int(announced):
            raise OSError(f"{target.stat().st_size} of {announced} bytes arrived")

    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        _retried(
            download, (OSError,), permanent=lambda error: isinstance(error, HTTPError) and error.code < 500
        )
    except OSError as error:
        raise BadInput(
            f"downloading {url} of {dataset} failed ({error})",
            fix="check the network and the entry in config/sources.yaml, or set sources.mirror to a local folder",
        ) from None


def _retried(
    call: Callable[[], T], failures: tuple[type[Exception], ...], permanent: Callable[[Exception], bool]
) -> T:
    """Call, again after a wait while it fails in a way that may pass."""
    for attempt in range(ATTEMPTS):
        try:
            return call()
        except failures as error:
            if permanent(error) or attempt + 1 == ATTEMPTS:
                raise
            time.sleep(_FIRST_WAIT_S * 2**attempt)
    raise AssertionError("unreachable")


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
