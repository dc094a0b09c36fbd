"""Manifests: the small JSON beside every artifact that says what it was made from.

A manifest is written last, so that its presence means the artifact is whole. It carries no date, host or
user: the same inputs, parameters and code give the same bytes.
"""

import platform
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from polyalign import __version__
from polyalign.errors import BadInput
from polyalign.files import StrPath, read_json, sha256_file, write_json

SCHEMA_VERSION = 1
_VERSIONED = (
    "accelerate",
    "llguidance",
    "mauve-text",
    "nltk",
    "numpy",
    "pyarrow",
    "scikit-learn",
    "scipy",
    "torch",
    "transformers",
    "trl",
    "umap-learn",
)


@cache
def package_versions() -> dict[str, str]:
    """Versions of Python, polyalign and the libraries that numbers can depend on, as installed here."""
    versions = {"python": platform.python_version(), "polyalign": __version__}
    for name in _VERSIONED:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions


def digest_files(paths: Sequence[StrPath]) -> dict[str, str]:
    """{path: sha256} of files, in the order given."""
    return {str(path): sha256_file(path) for path in paths}


def write_manifest(
    path: StrPath,
    *,
    step: str,
    inputs: Sequence[StrPath] = (),
    outputs: Sequence[StrPath] = (),
    params: Mapping[str, Any] | None = None,
    code: str | None = None,
    details: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Digest inputs and outputs and write the manifest of one step; returns what was written.

    Args:
        step: the rule or command that made the outputs.
        params: everything configurable that the outputs depend on.
        code: code digest of the step, see `polyalign.digest`.
        details: what the step itself found: counts, coverage, scorer, prompt mode, losses.
    """
    manifest = {
        "schema_version": SCHEMA_VERSION,
        "step": step,
        "inputs": digest_files(inputs),
        "outputs": digest_files(outputs),
        "params": dict(params or {}),
        "code": code,
        "versions": package_versions(),
        "details": dict(details or {}),
    }
    write_json(path, manifest)
    return manifest


def read_manifest(path: StrPath) -> dict[str, Any]:
    """Read a manifest, refusing one of another layout."""
    manifest = read_json(path)
    known = isinstance(manifest, dict) and manifest.get("schema_version") == SCHEMA_VERSION
    if not known or not isinstance(manifest.get("outputs"), dict):
        raise BadInput(
            "not a manifest of this version",
            file=path,
            field="schema_version",
            expected=str(SCHEMA_VERSION),
            fix="delete the file and build it again",
        )
    return manifest


def check_files(manifest: Mapping[str, Any], *, file: StrPath) -> None:
    """Raise `BadInput` unless every output the manifest lists is there with the digest it states."""
    for name, expected in manifest["outputs"].items():
        if not Path(name).is_file():
            raise BadInput("listed file is missing", file=name, fix=f"delete {file} and build it again")
        if sha256_file(name) != expected:
            raise BadInput(
                "content differs from its manifest",
                file=name,
                expected=f"sha256 {expected}",
                fix=f"delete {file} and build it again",
            )
