"""Write what the configuration's types say: config/schema.json for editors and docs/config.md for people.

    python -m polyalign.config_docs

Run it after every change of a setting; a test holds both files to the types.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from polyalign.config import Config
from polyalign.files import atomic_path, dump_json
from polyalign.markdown import anchor, table

ROOT = Path(__file__).resolve().parent.parent
SCHEMA_FILE = Path("config/schema.json")
PAGE_FILE = Path("docs/config.md")

Node = Mapping[str, Any]

_INTRODUCTION = """\
# Configuration

Every key of the configuration, with its type and default. Written by `python -m polyalign.config_docs` from
the types that `polyalign/config.py` puts together: change those, not this page.

`config/config.yaml` states the paper. Keep changes in a file of your own, which is merged over it key by key
(mappings are merged, lists and single values replaced), or give single keys on the command line:

    snakemake tables --configfile mine.yaml
    snakemake tables --config seed=7

A key that is not known, or a value of the wrong type, ends the run before any job with one line that names
the key and the nearest known one.

An editor with a YAML language server completes and checks keys as you type when the first line of the file is

    # yaml-language-server: $schema=schema.json

with the path to `config/schema.json`. The recipes that `recipes` and `recipe_overrides` refer to have keys of
their own: see docs/training.md and docs/critic.md.
"""


@dataclass(frozen=True)
class Row:
    """One key: its name, what it may hold, its default as YAML text and what it means."""

    key: str
    kind: str
    default: str
    meaning: str


@dataclass(frozen=True)
class Section:
    """The keys under one dotted path, the empty one for the top level."""

    path: str
    meaning: str
    rows: tuple[Row, ...]


def json_schema() -> dict[str, Any]:
    """The JSON schema of a configuration file.

    Nothing is required: files are merged, so each may hold a part of the keys.
    """
    described = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "PolyAlign workflow configuration",
    }
    schema = _without(Config.model_json_schema(), ("title", "required"))
    return described | schema


def _without(node: Any, keywords: tuple[str, ...]) -> Any:
    """The schema without some keywords; properties that happen to have such a name stay."""
    if isinstance(node, list):
        return [_without(item, keywords) for item in node]
    if not isinstance(node, dict):
        return node
    kept = {}
    for key, value in node.items():
        if key in ("properties", "$defs"):
            kept[key] = {name: _without(part, keywords) for name, part in value.items()}
        elif key in ("default", "enum", "const"):
            kept[key] = value
        elif key not in keywords:
            kept[key] = _without(value, keywords)
    return kept


def sections() -> list[Section]:
    """Every section of the configuration, outer ones first, in the order of the types."""
    schema = Config.model_json_schema()
    return list(_sections(schema, schema, "", {}))


def _sections(root: Node, node: Node, path: str, given: Node) -> Iterator[Section]:
    """Section of the settings at `node` and those below; `given` are defaults that the parent states."""
    rows, inner = [], []
    for key, part in node["properties"].items():
        own = part.get("default")
        default = given.get(key, own)
        # Equal mappings may differ in the order of their keys: the type's own is the one meant.
        default = own if default == own else default
        is_required = key in node.get("required", ()) and key not in given
        child, step = _settings_in(root, part)
        below = ".".join(filter(None, (path, key))) + step
        if child is not None:
            stated = default if not step and isinstance(default, dict) else {}
            inner.append((child, below, stated))
        rows.append(
            Row(key, _kind(root, part, below), _default(root, part, default, is_required), _meaning(part))
        )
    yield Section(path, _meaning(node), tuple(rows))
    for child, below, stated in inner:
        yield from _sections(root, child, below, stated)


def _settings_in(root: Node, part: Node) -> tuple[Node | None, str]:
    """(settings below a key or None, what their path adds: "" or ".<name>" in a mapping of names)."""
    for option in part.get("anyOf", [part]):
        if "$ref" in option:
            return root["$defs"][option["$ref"].rsplit("/", 1)[-1]], ""
        values = option.get("additionalProperties")
        if isinstance(values, dict) and "$ref" in values:
            return root["$defs"][values["$ref"].rsplit("/", 1)[-1]], ".<name>"
    return None, ""


_BOUNDS = {
    "exclusiveMinimum": "above",
    "minimum": "at least",
    "exclusiveMaximum": "below",
    "maximum": "at most",
}


def _kind(root: Node, part: Node, below: str) -> str:
    """What a key may hold, in words; `below` is the section that describes its settings."""
    if "anyOf" in part:
        return " or ".join(_kind(root, option, below) for option in part["anyOf"])
    if "$ref" in part:
        return f"[section](#{anchor(_title(below))})"
    if "enum" in part:
        return " or ".join(f"`{value}`" for value in part["enum"])
    if "const" in part:
        return f"`{part['const']}`"
    if part.get("type") == "array":
        return f"list of {_kind(root, part['items'], below)}"
    if part.get("type") == "object":
        names = _kind(root, part.get("propertyNames", {"type": "name"}), below)
        values = part.get("additionalProperties")
        return (
            f"mapping of {names} to {_kind(root, values, below)}" if isinstance(values, dict) else "mapping"
        )
    bounds = [f"{word} {part[keyword]}" for keyword, word in _BOUNDS.items() if keyword in part]
    return " ".join([part.get("type", "any value"), *bounds])


def _default(root: Node, part: Node, default: Any, is_required: bool) -> str:
    if is_required:
        return "none: has to be given"
    if _settings_in(root, part)[0] is not None and isinstance(default, dict) and "anyOf" not in part:
        return "as below"
    return f"`{default if isinstance(default, str) else dump_json(default)}`"


def _meaning(node: Node) -> str:
    return " ".join(node.get("description", "").split())


def _title(path: str) -> str:
    return path or "Top level"


def page() -> str:
    """docs/config.md: a table of keys for each section."""
    parts = [_INTRODUCTION]
    for section in sections():
        # A path may hold <name>, which is no HTML.
        title = _title(section.path).replace("<", "\\<")
        depth = section.path.replace(".<name>", "").count(".")
        rows = ([f"`{row.key}`", row.kind, row.default, row.meaning] for row in section.rows)
        lines = [f"{'#' * (2 + depth)} {title}", "", section.meaning, ""]
        parts.append("\n".join([*lines, *table(["key", "type", "default", "meaning"], rows)]))
    return "\n".join(parts)


def schema_text() -> str:
    """config/schema.json."""
    return dump_json(json_schema(), indent=2) + "\n"


GENERATED: dict[Path, Callable[[], str]] = {SCHEMA_FILE: schema_text, PAGE_FILE: page}
"""What is generated, by path in the repository."""


def main() -> None:
    """Write every generated file."""
    for name, text in GENERATED.items():
        with atomic_path(ROOT / name) as temporary:
            temporary.write_text(text(), encoding="utf-8")
        print(f"wrote {name}")


if __name__ == "__main__":
    main()
