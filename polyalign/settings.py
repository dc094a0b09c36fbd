"""Typed settings: a base class, and reading values so that a mistake is one line with the nearest name."""

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError

from polyalign.errors import BadInput, BadInputs
from polyalign.files import StrPath


class Settings(BaseModel):
    """A group of settings: unknown keys are errors, values do not change after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


S = TypeVar("S", bound=Settings)


def _without_credentials(address: str) -> str:
    # Settings stand in manifests and logs.
    if "@" in address.split("://")[-1].split("/")[0]:
        raise ValueError("no credentials in a URL; put keys into the environment")
    return address


WebAddress = Annotated[str, AfterValidator(_without_credentials)]
"""An address without user and password."""


def nearest(name: str, known: Sequence[str]) -> str:
    """`did you mean ...?` for a misspelt name, or the known names."""
    close = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {close[0]!r}?" if close else f"known: {', '.join(known)}"


def known_keys(model: type[BaseModel], path: Sequence[str | int]) -> list[str]:
    """Keys of the settings that stand at `path` inside `model`, read off its JSON schema."""
    schema = model.model_json_schema()
    node: Mapping[str, Any] = schema
    for part in path:
        node = node.get("properties", {}).get(str(part)) or node.get("additionalProperties") or {}
        if "anyOf" in node:
            node = next((option for option in node["anyOf"] if "$ref" in option), {})
        if "$ref" in node:
            node = schema["$defs"][node["$ref"].split("/")[-1]]
    return list(node.get("properties", {}))


def _problem(
    model: type[BaseModel], error: Mapping[str, Any], file: StrPath, docs: str, at: str | None
) -> BadInput:
    path = list(error["loc"])
    field = ".".join(str(part) for part in [*filter(None, [at]), *path]) or None
    if error["type"] == "extra_forbidden":
        fix = nearest(str(path[-1]), known_keys(model, path[:-1]))
        return BadInput("unknown key", file=file, field=field, fix=fix)
    if error["type"] == "missing":
        return BadInput("missing key", file=file, field=field, fix=f"add it; {docs} lists every key")
    text = error["msg"].removeprefix("Value error, ")
    found = "" if error["type"] == "value_error" else f" (found {error['input']!r:.60})"
    return BadInput(text + found, file=file, field=field, fix=f"{docs} lists every key with its values")


def read_settings(
    model: type[S], values: Mapping[str, Any], *, file: StrPath, docs: str, at: str | None = None
) -> S:
    """Type plain values.

    Args:
        file: where the values come from, for messages.
        docs: the page that lists the keys, for messages.
        at: the key that the values stand under in that file, for messages.

    Raises:
        BadInputs: one line a problem: file, key, what is wrong, and the nearest known name.
    """
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        raise BadInputs([_problem(model, problem, file, docs, at) for problem in error.errors()]) from None


# The same in C where PyYAML was built with it, ten times as fast: a start of the workflow reads dozens of files.
_YAML = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_yaml(path: StrPath) -> dict[str, Any]:
    """The mapping that a YAML file holds; raises `BadInput` when it is missing, broken or no mapping."""
    if not Path(path).is_file():
        raise BadInput("file not found", file=path, fix="check the path")
    try:
        values = yaml.load(Path(path).read_bytes(), Loader=_YAML)
    except yaml.YAMLError as error:
        raise BadInput(f"not valid YAML ({error})", file=path, fix="correct the file") from None
    values = {} if values is None else values
    if not isinstance(values, dict):
        raise BadInput(f"holds a {type(values).__name__}", file=path, expected="a mapping of keys to values")
    return values


def merge(target: dict[str, Any], update: Mapping[str, Any]) -> dict[str, Any]:
    """`update` over `target`, in place, as Snakemake merges configs: mappings merged, all else replaced."""
    for key, value in update.items():
        if isinstance(value, Mapping) and isinstance(target.get(key), dict):
            merge(target[key], value)
        else:
            target[key] = dict(value) if isinstance(value, Mapping) else value
    return target
