"""The scope of the project: which corpora are used for what, how they are split, and what is left out and why.

It stands in config/sources.yaml under a version and a date. config/scope_versions.yaml records a digest of every
version, and a test refuses a scope that changed under an old version. docs/scope.md is written from both.
"""

import datetime
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from polyalign.errors import BadInput
from polyalign.files import StrPath, sha256_json
from polyalign.settings import Settings, read_settings, read_yaml

VERSIONS = Path(__file__).resolve().parents[2] / "config" / "scope_versions.yaml"
ROLES = ("optimization", "reference", "evaluation")

Split = Literal["train", "dev", "test", "validation2"]
SplitPolicy = Literal["official", "local_90_5_5", "train_90_10"]
Version = Annotated[int, Field(ge=1)]
Text = Annotated[str, Field(min_length=1)]

POLICIES: dict[str, str] = {
    "official": "every official split is one of ours; validation is called dev",
    "local_90_5_5": "released in one piece: a seeded hash of the row decides train, dev or test, 90/5/5",
    "train_90_10": "official train is hashed 90/10 into train and dev, official validation is test",
}


class Exclusion(Settings):
    """Something of a corpus that is left out.

    Attributes:
        level: what is left out: files of the release, whole splits, fields of a row, or rows.
        what: which ones.
        cause: the name under which manifests count such rows; rows alone have one.
        reason: why.
    """

    level: Literal["files", "split", "field", "rows"]
    what: Text
    cause: str | None = None
    reason: Text

    @model_validator(mode="after")
    def _rows_are_counted(self) -> "Exclusion":
        if (self.cause is not None) != (self.level == "rows"):
            raise ValueError("rows that are left out have a cause, anything else has none")
        return self


class CorpusScope(Settings):
    """What one corpus is used for.

    Attributes:
        optimization: splits that models, pairs and critics are trained or selected on.
        reference: splits whose human answers make the bucket references.
        evaluation: splits that methods are compared on.
        split_policy: how the official splits become ours, a key of `POLICIES`.
        without_role: why a role has no split, for every role that has none.
    """

    optimization: list[Split]
    reference: list[Split]
    evaluation: list[Split]
    split_policy: SplitPolicy
    exclusions: list[Exclusion] = Field(default=[])
    without_role: dict[Literal["optimization", "reference", "evaluation"], Text] = Field(default={})

    @model_validator(mode="after")
    def _roles_make_sense(self) -> "CorpusScope":
        both = set(self.optimization) & set(self.evaluation)
        if both:
            raise ValueError(f"{min(both)} is both optimized on and evaluated")
        empty = {role for role in ROLES if not getattr(self, role)}
        if empty != set(self.without_role):
            raise ValueError("without_role must say why, for the roles that have no split and no others")
        causes = [exclusion.cause for exclusion in self.exclusions if exclusion.cause]
        if len(set(causes)) != len(causes):
            raise ValueError("two exclusions have the same cause")
        return self

    @property
    def causes(self) -> dict[str, str]:
        """{cause: reason} of the rows that are left out."""
        return {exclusion.cause: exclusion.reason for exclusion in self.exclusions if exclusion.cause}

    def check_splits(self, dataset: str, splits: Sequence[str], *, file: StrPath) -> None:
        """Raise `BadInput` unless every split that has a role is one that the corpus has."""
        for role in ROLES:
            for split in getattr(self, role):
                if split not in splits:
                    raise BadInput(
                        f"{dataset} has no split {split}",
                        file=file,
                        field=f"corpora.{dataset}.scope.{role}",
                        expected=f"some of {', '.join(splits)}",
                        fix="remove the split",
                    )


class ScopeVersion(Settings):
    """Which version of the scope the registry states."""

    version: Version
    date: datetime.date


class RecordedVersion(Settings):
    """One line of config/scope_versions.yaml."""

    date: datetime.date
    digest: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    change: Text


class _Versions(Settings):
    versions: dict[Version, RecordedVersion]


def load_versions(path: StrPath = VERSIONS) -> dict[int, RecordedVersion]:
    """The recorded versions of the scope, oldest first."""
    recorded = read_settings(_Versions, read_yaml(path), file=path, docs="docs/scope.md").versions
    return dict(sorted(recorded.items()))


def scope_digest(entries: Mapping[str, Any], deduplication: Mapping[str, Any]) -> str:
    """Digest of everything that decides which records there are and what for; wording does not count.

    Args:
        entries: {corpus: entry of the registry}.
        deduplication: `dedup.POLICY`.
    """
    corpora = {}
    for dataset, entry in entries.items():
        scope = entry.scope
        corpora[dataset] = {
            "language": entry.language,
            **entry.origin,
            "files": [[file.path, file.remote_name, file.required] for file in entry.files],
            **{role: getattr(scope, role) for role in ROLES},
            "split_policy": scope.split_policy,
            "exclusions": sorted([e.level, e.cause or e.what] for e in scope.exclusions),
        }
    return sha256_json({"corpora": corpora, "deduplication": dict(deduplication)})


def check_version(current: ScopeVersion, digest: str, path: StrPath = VERSIONS) -> None:
    """Raise `BadInput` unless the scope is the one recorded for its version, and that is the newest one."""
    versions = load_versions(path)
    newest = max(versions, default=0)
    recorded = versions.get(current.version)
    if recorded is None or recorded.digest != digest:
        bumped = recorded is None and current.version == newest + 1
        raise BadInput(
            f"the scope is not the one recorded as version {current.version}",
            file=path,
            expected=f"digest {recorded.digest if recorded else 'of a recorded version'}",
            fix=f"record version {current.version} here with digest {digest}"
            if bumped
            else f"give config/sources.yaml version {newest + 1} and today's date, and record digest {digest} here",
        )
    if current.version != newest or current.date != recorded.date:
        raise BadInput(
            f"config/sources.yaml states version {current.version} of {current.date}",
            file=path,
            expected=f"version {newest} of {versions[newest].date}",
            fix="state the newest recorded version with its date",
        )
