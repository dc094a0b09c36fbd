"""Released artifacts as inputs: records, checkpoints and predictions that others published, checked and taken in.

A released file comes from a dataset repository on the hub or from a local path, a checkpoint from a model repository or
a local folder. Records stand in for a split; predictions become those of a cell only when every row repeats what its
record says. The layout of released files is described in docs/released.md.
"""

import shutil
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from polyalign.downloads import HubRepository, download_folder
from polyalign.errors import BadInput
from polyalign.files import (
    StrPath,
    TableWriter,
    atomic_directory,
    atomic_path,
    read_json,
    sha256_file,
    sha256_json,
)
from polyalign.manifest import read_manifest
from polyalign.model_download import MODEL_FILES, TEMPLATE_FILE, fetch_model
from polyalign.model_folders import check_weights
from polyalign.records import BATCH_ROWS, RECORD_SCHEMA, read_records, records_to_table
from polyalign.settings import Settings, nearest

ORACLE_NAMES = ("ref-conditioned", "ref_conditioned")
"""How names of released runs say that their prompts showed the reference answer."""


class Place(Settings):
    """Where a released file or checkpoint is: on the hub at a revision, or local."""

    hub: str | None = Field(None, pattern=r"^[\w.-]+/[\w.-]+$", description="hub repository")
    revision: str = Field("main", description="branch, tag or commit of the repository")
    file: str | None = Field(None, description="file in the repository, or in the local folder `path`")
    path: str | None = Field(
        None, description="local file or folder; a relative one is meant from the checkout"
    )

    @model_validator(mode="after")
    def _one_origin(self) -> "Place":
        if (self.hub is None) == (self.path is None):
            raise ValueError("give exactly one of `hub` and `path`")
        return self

    @property
    def name(self) -> str:
        """The place in a few words, for messages."""
        return " ".join(filter(None, [self.hub, self.path, self.file]))

    def check_file(self) -> None:
        """Raise ValueError where a place on the hub names no JSONL file."""
        if self.hub is not None and not (self.file or "").endswith(".jsonl"):
            raise ValueError(f"{self.name}: `file` names no .jsonl file of the repository")

    def find(self, path: str) -> str:
        """The whole local path, of the file where there is one, for a path as seen from the working directory.

        Raises:
            BadInput: there is nothing at that path.
        """
        whole = Path(path, self.file) if self.file else Path(path)
        if not whole.exists():
            raise BadInput(
                "no released artifact here", file=whole, fix="correct its path in the configuration"
            )
        return str(whole)


class CellSource(Settings):
    """What a cell is made from: training here, a released checkpoint, or released predictions."""

    source: Literal["train", "checkpoint", "predictions"] = Field(
        "train", description="checkpoint: nothing is trained; predictions: nothing is trained or predicted"
    )
    checkpoint: Place | None = Field(None, description="released model, used with source checkpoint")
    predictions: Place | None = Field(
        None, description="released predictions for the test split, used with source predictions"
    )
    chat_template: str | None = Field(
        None,
        description="name of a file in config/chat_templates that replaces the checkpoint's own; null keeps its "
        "own, or gives it the model's where it has none",
    )

    @model_validator(mode="after")
    def _has_its_place(self) -> "CellSource":
        if self.source != "train" and getattr(self, self.source) is None:
            raise ValueError(f"source is {self.source}, but no `{self.source}` says where it is")
        if self.checkpoint is not None and self.checkpoint.file is not None:
            raise ValueError("`checkpoint` is a whole repository or folder, without `file`")
        if self.predictions is not None:
            self.predictions.check_file()
        return self


def looks_oracle(name: str) -> bool:
    """Whether the name of a released run says that its prompts showed the reference answer."""
    return any(part in name for part in ORACLE_NAMES)


def _source_entry(kind: str, place: Place, sha256: str, commit: str | None) -> dict[str, Any]:
    """The `source` of manifests and reports: what was taken in and from where, without local folders."""
    return {
        "kind": kind,
        "hub": place.hub,
        "revision": place.revision if place.hub else None,
        "commit": commit,
        "path": Path(place.path).name if place.path else None,
        "file": place.file,
        "sha256": sha256,
    }


def file_source(kind: str, place: Place | Mapping[str, Any], file: StrPath) -> dict[str, Any]:
    """The `source` of what a released file became; the commit is told by the manifest beside a downloaded one."""
    place = place if isinstance(place, Place) else Place.model_validate(place)
    manifest = Path(file).with_suffix(".manifest.json")
    fetched = place.hub is not None and manifest.is_file()
    commit = read_manifest(manifest)["details"].get("commit") if fetched else None
    return _source_entry(kind, place, sha256_file(file), commit)


def fetch_released(
    place: Place | Mapping[str, Any], out_file: StrPath, *, endpoint: str | None = None
) -> dict[str, Any]:
    """Download a released file at its revision.

    Args:
        place: a file of a dataset repository on the hub.
        endpoint: address of the hub, where it is not the usual one.

    Returns:
        repository, revision, file, the commit that the revision stood for, and sha256.

    Raises:
        BadInput: repository, revision or file is not there, access is refused, or the download keeps failing.
    """
    place = place if isinstance(place, Place) else Place.model_validate(place)
    snapshot = HubRepository(
        kind="dataset",
        repo=place.hub,
        revision=place.revision,
        label="released file",
        fix="correct its hub, revision and file in the configuration",
        instead="set released_mirror to a folder with a copy of the repository",
        endpoint=endpoint,
    ).resolve()
    if place.file not in snapshot.files:
        raise BadInput(
            f"no file {place.file} at {place.hub}, revision {place.revision}",
            expected=nearest(place.file, list(snapshot.files)),
            fix="correct `file` in the configuration",
        )
    downloads = download_folder(out_file)
    arrived = snapshot.download(place.file, downloads)
    with atomic_path(out_file) as temporary:
        shutil.move(arrived, temporary)
    shutil.rmtree(downloads)
    return {
        "repository": place.hub,
        "revision": place.revision,
        "file": place.file,
        "commit": snapshot.commit,
        "sha256": sha256_file(out_file),
    }


def import_records(
    source: StrPath, output: StrPath, language: str, *, place: Place | Mapping[str, Any]
) -> dict[str, Any]:
    """Take released records as a split; their rows are what released predictions index.

    Args:
        source: records, JSONL(.gz) in the published layout or Parquet.
        output: Parquet table of `RECORD_SCHEMA`.
        language: the language of every record.
        place: where the records come from.

    Returns:
        records, datasets {dataset: n}, buckets {bucket: n} and `source`.

    Raises:
        BadInput: a row that is no record or one of another language, or no rows.
    """
    datasets: Counter[str] = Counter()
    buckets: Counter[str] = Counter()
    with TableWriter(output, RECORD_SCHEMA) as writer:
        records = _of_language(source, language)
        while rows := list(islice(records, BATCH_ROWS)):
            writer.write(records_to_table(rows))
            datasets.update(row["dataset"] for row in rows)
            buckets.update(row["bucket_id"] for row in rows)
        if not writer.rows:
            raise BadInput("no records", file=source, expected="released records, one JSON object a line")
    return {
        "records": writer.rows,
        "datasets": dict(datasets),
        "buckets": dict(sorted(buckets.items())),
        "source": file_source("records", place, source),
    }


def _of_language(source: StrPath, language: str) -> Iterator[dict[str, Any]]:
    for row, record in enumerate(read_records(source), start=1):
        if record["language"] != language:
            raise BadInput(
                f"record in language {record['language']!r}",
                file=source,
                row=row,
                id=record["id"],
                field="language",
                expected=repr(language),
                fix="give each language its own records in released_records",
            )
        yield record


def checkpoint_files(folder: StrPath) -> list[Path]:
    """The files of a local checkpoint that are taken in: weights in safetensors, configuration, tokenizer, template."""
    root = Path(folder)
    found = {path for pattern in MODEL_FILES for path in root.glob(pattern) if path.is_file()}
    return sorted(path for path in found if path.name != "manifest.json")


def import_checkpoint(
    place: Place | Mapping[str, Any],
    out_dir: StrPath,
    *,
    folder: StrPath | None = None,
    chat_template: str | None = None,
    default_template: str | None = None,
    endpoint: str | None = None,
) -> dict[str, Any]:
    """Take a released checkpoint as a cell's model.

    Args:
        place: the model repository on the hub, or a local folder.
        out_dir: folder of the checkpoint; replaced as a whole.
        folder: where the checkpoint is on this machine; None downloads it from the hub.
        chat_template: Jinja text that replaces the checkpoint's template; None keeps it.
        default_template: Jinja text for a checkpoint that ships no template.
        endpoint: address of the hub, where it is not the usual one.

    Returns:
        source, template (own, replaced or added) and files {name: SHA-256}.

    Raises:
        BadInput: no repository, folder, configuration, tokenizer or safetensors weights there.
    """
    place = place if isinstance(place, Place) else Place.model_validate(place)
    target = Path(out_dir)
    commit = None
    if folder is None:
        key = f"cells.{target.name}.checkpoint"
        fetched = fetch_model(
            place.hub, place.revision, target, chat_template=chat_template, endpoint=endpoint, key=key
        )
        commit = fetched["commit"]
    else:
        _copy_checkpoint(Path(folder), target, chat_template)
    template = "replaced" if chat_template is not None else "own"
    if chat_template is None and not _has_template(target):
        if default_template is None:
            raise BadInput(
                "the checkpoint has no chat template",
                file=target,
                fix="name one as chat_template of the cell",
            )
        (target / TEMPLATE_FILE).write_text(default_template, encoding="utf-8")
        template = "added"
    files = {path.name: sha256_file(path) for path in checkpoint_files(target)}
    return {
        "source": _source_entry("checkpoint", place, sha256_json(files), commit),
        "template": template,
        "files": files,
    }


def _copy_checkpoint(folder: Path, target: Path, chat_template: str | None) -> None:
    """Copy the files of a local checkpoint."""
    files = checkpoint_files(folder)
    names = {path.name for path in files}
    for needed, what in (("config.json", "model configuration"), ("tokenizer_config.json", "tokenizer")):
        if needed not in names:
            raise BadInput(
                f"no {what} in the checkpoint", file=folder / needed, fix="give the folder of a model"
            )
    check_weights(folder)
    with atomic_directory(target) as staging:
        for path in files:
            shutil.copyfile(path, staging / path.name)
        if chat_template is not None:
            (staging / TEMPLATE_FILE).write_text(chat_template, encoding="utf-8")


def _has_template(folder: Path) -> bool:
    config = folder / "tokenizer_config.json"
    return (folder / TEMPLATE_FILE).is_file() or (
        config.is_file() and bool(read_json(config).get("chat_template"))
    )
