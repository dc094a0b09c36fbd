"""The registry of corpora, config/sources.yaml: the scope of the project under a version, and an entry a corpus."""

from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from polyalign.corpora.catalogue import CORPORA, get_corpus
from polyalign.data.scope import CorpusScope, ScopeVersion
from polyalign.errors import BadInput
from polyalign.files import StrPath
from polyalign.settings import Settings, WebAddress, nearest, read_settings, read_yaml

REGISTRY = Path(__file__).resolve().parents[2] / "config" / "sources.yaml"


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


class SourcePlace(Settings):
    """Where one corpus comes from, under which licence, and what it consists of."""

    language: Literal["en", "zh"]
    licence: str
    citation: str
    hub: HubPlace | None = None
    base_url: WebAddress | None = None
    """Address that the files' names are appended to, for a corpus whose files are not on the hub."""
    hub_page: str | None = None
    """The hub repository such a corpus is known by."""
    files: Annotated[list[SourceFile], Field(min_length=1)]

    @model_validator(mode="after")
    def _check(self) -> "SourcePlace":
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


class SourceEntry(SourcePlace):
    """The registry's entry of one corpus: its place, and what it is used for."""

    scope: CorpusScope

    @property
    def place(self) -> dict[str, Any]:
        """The entry without its scope, as plain values: what fetching depends on."""
        return self.model_dump(exclude_none=True, exclude={"scope"})


class Registry(Settings):
    """The whole of config/sources.yaml."""

    scope: ScopeVersion
    corpora: dict[str, SourceEntry]


def load_registry(path: StrPath = REGISTRY) -> Registry:
    """Read and check the registry.

    Raises:
        BadInput, BadInputs: the file is missing or not YAML, names an unknown corpus, or an entry is wrong.
    """
    values = read_yaml(path)
    named = values.get("corpora")
    for dataset in named if isinstance(named, dict) else ():
        if dataset not in CORPORA:
            raise BadInput(f"unknown corpus {dataset!r}", file=path, fix=nearest(dataset, list(CORPORA)))
    registry = read_settings(Registry, values, file=path, docs="docs/data.md")
    for dataset, entry in registry.corpora.items():
        entry.scope.check_splits(dataset, CORPORA[dataset].splits, file=path)
    return registry


def get_entry(dataset: str, registry: Registry | None = None, *, file: StrPath = REGISTRY) -> SourceEntry:
    """The registry's entry of one corpus.

    Args:
        registry: what `file` holds, where it has been read already.
        file: the registry's file.
    """
    get_corpus(dataset)
    entries = (registry or load_registry(file)).corpora
    if dataset not in entries:
        raise BadInput("corpus is not in the registry", file=file, field=dataset, fix="add an entry for it")
    return entries[dataset]
