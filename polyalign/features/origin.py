"""What measured a set of features, and the rule that two that differ in it are never put together.

Feature tables, bucket references and reports state their origin: the feature set, the tools with version or digest,
and the scorer of the language-model features, which counts by its content and not by its name.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from polyalign.errors import BadInput
from polyalign.files import StrPath, dump_json

LM_GROUP = "language model"
"""Group of features that the scorer measures; its tool says precision, limits and library."""
_FIX = "measure both with the same --set, tools and scorer"


@dataclass(frozen=True)
class MadeBy:
    """What measured a table.

    Attributes:
        feature_set: `paper-v1` or `core-v1`; None in a file that does not say (a published one).
        scorer: name of the model behind the language-model features; None without them.
        backends: group of features -> tool and version.
        scorer_digest: digest of that model, see `polyalign.features.scorer.scorer_digest`; None where it is not known.
    """

    feature_set: str | None
    scorer: str | None = None
    backends: Mapping[str, str] = field(default_factory=dict)
    scorer_digest: str | None = None

    def metadata(self) -> dict[str, str]:
        """As schema metadata of a Parquet file."""
        return {
            "polyalign.feature_set": self.feature_set or "",
            "polyalign.scorer": self.scorer or "",
            "polyalign.scorer_digest": self.scorer_digest or "",
            "polyalign.backends": dump_json(dict(self.backends)),
        }

    @classmethod
    def of_metadata(cls, metadata: Mapping[bytes, bytes] | None) -> "MadeBy":
        """From the schema metadata of a Parquet file."""
        values = {key.decode(): value.decode() for key, value in (metadata or {}).items()}
        return cls(
            values.get("polyalign.feature_set") or None,
            values.get("polyalign.scorer") or None,
            json.loads(values.get("polyalign.backends", "{}")),
            values.get("polyalign.scorer_digest") or None,
        )

    def stated(self) -> dict[str, Any]:
        """As keys beside others: in JSON rows, references and manifests."""
        return {
            "feature_set": self.feature_set,
            "scorer": self.scorer,
            "scorer_digest": self.scorer_digest,
            "backends": dict(self.backends),
        }

    @classmethod
    def of_stated(cls, row: Mapping[str, Any]) -> "MadeBy":
        """From such keys; published files have none of them."""
        return cls(
            row.get("feature_set"), row.get("scorer"), row.get("backends") or {}, row.get("scorer_digest")
        )

    def details(self, rows: int, features: int) -> dict[str, Any]:
        """As details of a manifest."""
        return {"rows": rows, "features": features, **self.stated()}

    @property
    def scorer_name(self) -> str:
        """The scorer in words."""
        if self.scorer is None:
            return "none"
        return f"{self.scorer} ({self.scorer_digest[:12]})" if self.scorer_digest else self.scorer

    def _same_scorer(self, other: "MadeBy") -> bool:
        if self.scorer_digest and other.scorer_digest:
            return self.scorer_digest == other.scorer_digest
        return self.scorer == other.scorer

    def difference(self, other: "MadeBy") -> tuple[str, str, str] | None:
        """(what differs, here, in the other), or None where nothing does or one of them does not say."""
        if not self.feature_set or not other.feature_set:
            return None
        if self.feature_set != other.feature_set:
            return "feature set", self.feature_set, other.feature_set
        if not self._same_scorer(other):
            return "scorer", self.scorer_name, other.scorer_name
        if self.backends and other.backends:
            for group in {**self.backends, **other.backends}:
                here, there = self.backends.get(group, "none"), other.backends.get(group, "none")
                if here != there:
                    return f"tool of {group}", here, there
        return None


def refuse_different(found: MadeBy, file: StrPath, expected: MadeBy, other: StrPath) -> None:
    """Raise `BadInput` naming both when features of two origins were to be put together.

    Args:
        found, file: the origin of what `file` holds.
        expected, other: what it is to be used with, and what to call that.
    """
    different = found.difference(expected)
    if different is not None:
        what, here, there = different
        raise BadInput(
            f"{what} is {here}, that of {other} is {there}",
            file=file,
            expected="one feature set, the same tools and one scorer",
            fix=_FIX,
        )
