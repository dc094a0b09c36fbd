"""Write docs/scope.md, which corpora are used for what and why, from config/sources.yaml.

    python -m polyalign.data.scope_page
    python -m polyalign.data.scope_page --record CHANGE     # after a new version: notes it with its digest

Run it after every change of the scope; a test holds the page to the registry and the registry to its version.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from polyalign.corpora.catalogue import CORPORA
from polyalign.data.dedup import POLICY
from polyalign.data.registry import Registry, SourceEntry, load_registry
from polyalign.data.scope import POLICIES, ROLES, VERSIONS, load_versions, scope_digest
from polyalign.errors import EXIT_CODE, BadInput, PolyAlignError
from polyalign.files import write_text
from polyalign.markdown import table

PAGE_FILE = Path(__file__).resolve().parents[2] / "docs" / "scope.md"

_ROLE_MEANING = {
    "optimization": "models, pairs and critics are trained and selected on them",
    "reference": "their human answers make the bucket references",
    "evaluation": "methods are compared on them, and on nothing else",
}
_LEVELS = {"files": "files", "split": "split", "field": "field", "rows": "rows"}
_DEDUPLICATION = """\
## Deduplication

No record that is evaluated may have been trained on. Definitions: [method](method.md#deduplication); what a run
removed, by cause: `results/deduped/report.json` and [the inventory](data.md#inventory).

- Two records are the same when language, track, family, question, context, answer and history are, after normalization
  and in lower case. This is looked for across splits and across the corpora of a language.
- Of equal records the one in the best protected split stays ({priority}), then that of the
  corpus that comes first by name, then the first in its file.
- A conversation that stands in several splits stays in the best protected one only ({groups}).
- Near duplicates stay unless the optional pass is switched on; what it would remove is reported apart.
"""


def current_digest(registry: Registry) -> str:
    """Digest of the registry's scope, for config/scope_versions.yaml."""
    return scope_digest(registry.corpora, POLICY)


def _corpus_rows(entries: Mapping[str, SourceEntry]) -> Iterator[list[str]]:
    for dataset, entry in entries.items():
        corpus, scope = CORPORA[dataset], entry.scope
        kind = f"{corpus.language}, {corpus.track}, {corpus.family}, {corpus.style_bucket}"
        origin = entry.hub.repo if entry.hub else f"{entry.hub_page}, files from {entry.base_url}"
        roles = [", ".join(getattr(scope, role)) or "none" for role in ROLES]
        yield [dataset, kind, origin, *roles, entry.licence]


def _exclusion_rows(entries: Mapping[str, SourceEntry]) -> Iterator[list[str]]:
    for dataset, entry in entries.items():
        for exclusion in entry.scope.exclusions:
            counted = f"`{exclusion.cause}`" if exclusion.cause else "–"
            yield [dataset, _LEVELS[exclusion.level], exclusion.what, exclusion.reason, counted]
        for role, reason in entry.scope.without_role.items():
            yield [dataset, "role", role, reason, "–"]


def scope_page(registry: Registry | None = None) -> str:
    """The text of docs/scope.md."""
    registry = registry or load_registry()
    entries, scope = registry.corpora, registry.scope
    policies = (
        [dataset, f"`{entry.scope.split_policy}`", CORPORA[dataset].policy]
        for dataset, entry in entries.items()
    )
    versions = (
        [str(number), str(recorded.date), recorded.change, f"`{recorded.digest[:12]}`"]
        for number, recorded in load_versions().items()
    )
    groups = ", ".join(POLICY["group_datasets"])
    lines: list[Any] = [
        "# Scope",
        "",
        f"Version {scope.version} of {scope.date}: {len(entries)} corpora, what each is used for, how it is split, and",
        "what is left out and why. Written by `python -m polyalign.data.scope_page` from `config/sources.yaml`: change",
        "that, not this page. A change of the scope needs a new version there, recorded in",
        "`config/scope_versions.yaml`; a test fails otherwise and says how.",
        "",
        "## Corpora and roles",
        "",
        *(f"- **{role}**: {meaning}." for role, meaning in _ROLE_MEANING.items()),
        "",
        "A split named dev here is called val once the corpora of a language are merged.",
        "",
        *table(["corpus", "kind", "source", *ROLES, "licence"], _corpus_rows(entries)),
        "## Splits",
        "",
        *(f"- `{name}`: {meaning}." for name, meaning in POLICIES.items()),
        "",
        *table(["corpus", "policy", "in full"], policies),
        "## Exclusions",
        "",
        "Rows that are left out are counted under the name in the last column, in the manifest of the formatted corpus",
        "and in the inventory. A row that is broken in any other way is an error.",
        "",
        *table(["corpus", "level", "what", "why", "counted as"], _exclusion_rows(entries)),
        _DEDUPLICATION.format(priority=", ".join(POLICY["evaluation_safe_priority"]), groups=groups),
        "## Versions",
        "",
        *table(["version", "date", "change", "digest"], versions),
    ]
    return "\n".join(lines).rstrip() + "\n"


def record_version(change: str) -> str:
    """Add the registry's version to config/scope_versions.yaml; returns what was added.

    Raises:
        BadInput: that version is recorded already.
    """
    registry = load_registry()
    scope, versions = registry.scope, load_versions()
    if scope.version in versions:
        raise BadInput(
            f"version {scope.version} is recorded already",
            file=VERSIONS,
            fix=f"set scope.version to {max(versions) + 1} and today's date in config/sources.yaml",
        )
    values = {"date": scope.date, "digest": current_digest(registry), "change": change}
    entry = yaml.safe_dump({scope.version: values}, sort_keys=False, allow_unicode=True, width=1000)
    text = "".join(f"  {line}\n" for line in entry.splitlines())
    write_text(VERSIONS, VERSIONS.read_text(encoding="utf-8") + text)
    return text


def main(arguments: Sequence[str]) -> None:
    """Record the version where `--record CHANGE` is given, and write the page."""
    if len(arguments) == 2 and arguments[0] == "--record":
        print(record_version(arguments[1]), end="")
    elif arguments:
        raise BadInput(f"unknown arguments {' '.join(arguments)}", expected="--record CHANGE, or nothing")
    write_text(PAGE_FILE, scope_page())


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except PolyAlignError as error:
        print(error, file=sys.stderr)
        sys.exit(EXIT_CODE)
