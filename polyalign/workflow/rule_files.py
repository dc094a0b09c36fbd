"""The workflow's rules as its files state them: what each reads and writes, its script, and what that calls.

    rules = read_rules(ROOT)                  # every rule of the Snakefile and of rules/*.smk
    edges = rule_edges(rules)                 # {(producer, consumer)}

Snakemake is not asked: the text is parsed, so that rules of every configuration are seen. The body of a directive is
the argument list of a Python call, and input functions are Python; a test compares the edges with Snakemake's own.
"""

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product
from pathlib import Path

_HEADER = re.compile(r"( *)(?:use rule (?P<base>\w+) as (?P<as>\w+) with|rule (?P<rule>\w+)):")
_DIRECTIVE = re.compile(r" +(input|output|script):(.*)")
_FIELD = re.compile(r"\{([^{}]*)\}")
_ARTIFACT = re.compile(r"(?:results|resources)/[^\s]+")
_PLUMBING = ("polyalign.files.", "polyalign.job.", "polyalign.downloads.allow", "polyalign.manifest.")
"""What scripts call beside the function that does the work."""
_NARROW = {"lang", "method", "model", "scorer", "split"}
"""Wildcards whose values hold no underscore."""


@dataclass(frozen=True)
class Rule:
    """A rule.

    Attributes:
        file: where it stands, seen from the checkout.
        inputs, outputs: path patterns; `{lang}` is a wildcard, `{md,csv}` stands for each of these.
        script: file of its script, seen from the checkout; "" for a target that only names others.
        calls: functions of the package that the script calls, as `module.function`.
    """

    name: str
    file: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    script: str
    calls: tuple[str, ...]


@dataclass
class _Text:
    """A rule as text: its directives as calls."""

    name: str
    file: str
    base: str = ""
    directives: dict[str, ast.Call] = field(default_factory=dict)


def _blocks(text: str, file: str) -> Iterator[_Text]:
    """Rules of a file; what belongs to a rule, or to a directive, is indented deeper."""
    lines = text.splitlines()
    for start, line in enumerate(lines):
        header = _HEADER.fullmatch(line)
        if not header:
            continue
        depth = len(header[1])
        parts = _Text(header["rule"] or header["as"], file, header["base"] or "")
        name, body = "", []
        for line in [*_deeper(lines[start + 1 :], depth), ""]:
            found = _DIRECTIVE.fullmatch(line)
            indent = len(line) - len(line.lstrip())
            if indent == depth + 4 or not line:
                if name:
                    parts.directives[name] = _call("\n".join(body))
                name, body = (found[1], [found[2]]) if found else ("", [])
            elif name:
                body.append(line)
        yield parts


def _deeper(lines: list[str], depth: int) -> Iterator[str]:
    """The first lines that are indented by more than `depth`, without empty ones and comments."""
    for line in lines:
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if len(line) - len(line.lstrip()) <= depth:
            return
        yield line


def _call(arguments: str) -> ast.Call:
    return ast.parse(f"_({arguments}\n)", mode="eval").body  # type: ignore[return-value]


def _definitions(text: str) -> Iterator[tuple[str, ast.AST]]:
    """(name, tree) of the functions and constants at the top level of a Snakemake file."""
    chunks = re.split(r"\n(?=\S)", text)
    # A closing bracket at the left edge belongs to what it closes.
    merged: list[str] = []
    for chunk in chunks:
        if merged and chunk[0] in ")]}":
            merged[-1] += "\n" + chunk
        else:
            merged.append(chunk)
    for chunk in merged:
        if re.match(r"def \w+\(", chunk):
            tree = ast.parse(chunk).body[0]
            yield tree.name, tree  # type: ignore[attr-defined]
        elif found := re.match(r"([A-Z]\w*) = ", chunk):
            yield found[1], ast.parse(chunk).body[0]


class _Patterns:
    """Finds the path patterns that an expression of a rule stands for."""

    def __init__(self, names: Mapping[str, ast.AST], outputs: Mapping[str, ast.Call]) -> None:
        self.names, self.outputs = names, outputs

    def of(self, node: ast.AST, seen: frozenset[str] = frozenset()) -> Iterator[str]:
        """Patterns in the order of the text, repeated ones included; `seen` are names that are being followed."""
        if isinstance(node, ast.Constant):
            if isinstance(node.value, str) and _ARTIFACT.fullmatch(node.value):
                yield node.value
        elif isinstance(node, ast.JoinedStr):
            text = "".join(_piece(part) for part in node.values)
            if _ARTIFACT.fullmatch(text):
                yield text
        elif isinstance(node, ast.Attribute):
            yield from self._of_output(node, seen)
        elif isinstance(node, ast.Name):
            yield from self._of_name(node.id, seen)
        elif isinstance(node, ast.Call):
            yield from self._of_call(node, seen)
        else:
            for child in ast.iter_child_nodes(_without_docstring(node)):
                yield from self.of(child, seen)

    def _of_output(self, node: ast.Attribute, seen: frozenset[str]) -> Iterator[str]:
        """`rules.NAME.output.KEY`."""
        found = re.fullmatch(r"rules\.(\w+)\.output\.(\w+)", ast.unparse(node))
        if not found:
            yield from self.of(node.value, seen)
            return
        for keyword in self.outputs[found[1]].keywords:
            if keyword.arg == found[2]:
                yield from self.of(keyword.value, seen)

    def _of_name(self, name: str, seen: frozenset[str]) -> Iterator[str]:
        if name in self.names and name not in seen:
            yield from self.of(self.names[name], seen | {name})

    def _of_call(self, node: ast.Call, seen: frozenset[str]) -> Iterator[str]:
        called = ast.unparse(node.func)
        if called == "expand" or called.startswith("gather."):
            values = {k.arg: _listed(k.value) for k in node.keywords if k.arg}
            for argument in node.args:
                for pattern in self.of(argument, seen):
                    yield _expanded(pattern, values)
            return
        yield from self._of_name(called, seen)
        # What `report` is told of captions and labels is about the output, not an output.
        told = [] if called == "report" else [keyword.value for keyword in node.keywords]
        for argument in [*node.args, *told]:
            yield from self.of(argument, seen)


def _piece(part: ast.AST) -> str:
    """Text of a part of an f-string; what it puts in becomes a wildcard of its last name."""
    if isinstance(part, ast.Constant):
        return str(part.value)
    inner = re.findall(r"\w+", ast.unparse(part.value))  # type: ignore[attr-defined]
    return "{" + (inner[-1] if inner else "x") + "}"


def _without_docstring(node: ast.AST) -> ast.AST:
    if isinstance(node, ast.FunctionDef) and ast.get_docstring(node) is not None:
        return ast.Module(body=node.body[1:], type_ignores=[])
    return node


def _listed(node: ast.AST) -> list[str] | None:
    """The strings of a literal list, None for anything else."""
    items = node.elts if isinstance(node, ast.List) else []
    values = [item.value for item in items if isinstance(item, ast.Constant)]
    return values if items and len(values) == len(items) else None


def _expanded(pattern: str, values: Mapping[str, list[str] | None]) -> str:
    """The pattern as `expand` leaves it: {{x}} is {x}, and known values stand in braces."""
    # Doubled brackets are kept apart while single ones are looked at.
    text = pattern.replace("{{", "\0").replace("}}", "\1")
    text = _FIELD.sub(
        lambda found: "{" + ",".join(known) + "}" if (known := values.get(found[1])) else found[0], text
    )
    return text.replace("\0", "{").replace("\1", "}")


def _calls(script: Path) -> Iterator[str]:
    """Functions of the package that a script calls, as `module.function`, in order."""
    tree = ast.parse(script.read_text(encoding="utf-8"))
    imported = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("polyalign."):
            imported |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    calls = [
        node.func.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    ]
    for name in dict.fromkeys(calls):
        if name in imported and not imported[name].startswith(_PLUMBING):
            yield imported[name]


def rule_files(root: Path) -> list[Path]:
    """The Snakefile and the files that it includes, and those that these include, in the order of reading."""

    def read_from(file: Path) -> Iterator[Path]:
        yield file
        for name in re.findall(r'^include: "(.+)"', file.read_text(encoding="utf-8"), re.MULTILINE):
            yield from read_from(file.parent / name)

    return list(read_from(root / "Snakefile"))


def read_rules(root: Path) -> list[Rule]:
    """Every rule of a checkout, in the order of its files; those that inherit a script have it too."""
    texts = {str(file.relative_to(root)): file.read_text(encoding="utf-8") for file in rule_files(root)}
    parts = [one for file, text in texts.items() for one in _blocks(text, file)]
    names = dict(item for text in texts.values() for item in _definitions(text))
    nothing = _call("")
    patterns = _Patterns(names, {one.name: one.directives.get("output", nothing) for one in parts})
    scripts: dict[str, str] = {}
    rules = []
    for one in parts:
        script = one.directives.get("script")
        if script is not None:
            scripts[one.name] = ast.literal_eval(script.args[0]).removeprefix("../")
        else:
            scripts[one.name] = scripts.get(one.base, "")
        found = {
            kind: tuple(dict.fromkeys(patterns.of(one.directives[kind]) if kind in one.directives else ()))
            for kind in ("input", "output")
        }
        file = scripts[one.name]
        calls = tuple(_calls(root / file)) if file else ()
        rules.append(Rule(one.name, one.file, found["input"], found["output"], file, calls))
    return rules


class _Part:
    """A part of a path pattern between two slashes, which can be compared with another."""

    def __init__(self, text: str) -> None:
        self.text = text

    @cached_property
    def regex(self) -> re.Pattern[str]:
        parts = re.split(r"(\{[^{}]*\})", self.text)
        return re.compile("".join(_regex_of(part) for part in parts))

    @cached_property
    def samples(self) -> list[str]:
        """The part with a letter for every wildcard and each of the values in braces."""
        parts = re.split(r"(\{[^{}]*\})", self.text)
        choices = [
            part[1:-1].split(",") if part.startswith("{") and "," in part else [_sample(part)]
            for part in parts
        ]
        return ["".join(chosen) for chosen in product(*choices)]

    def meets(self, other: "_Part") -> bool:
        """Whether some name fits both."""
        return any(map(other.regex.fullmatch, self.samples)) or any(map(self.regex.fullmatch, other.samples))


def _regex_of(part: str) -> str:
    if not part.startswith("{"):
        return re.escape(part)
    if "," in part:
        return "(?:" + "|".join(map(re.escape, part[1:-1].split(","))) + ")"
    return "[^/_]+" if part[1:-1] in _NARROW else "[^/]+"


def _sample(part: str) -> str:
    return "x" if part.startswith("{") else part


def _split(pattern: str) -> list[_Part]:
    return [_Part(part) for part in pattern.split("/")]


def _meet(one: list[_Part], other: list[_Part]) -> bool:
    """Whether some path fits both patterns."""
    return len(one) == len(other) and all(a.meets(b) for a, b in zip(one, other, strict=True))


def rule_edges(rules: list[Rule]) -> set[tuple[str, str]]:
    """(producer, consumer) for every rule that may read what another writes."""
    written = [(rule.name, _split(pattern)) for rule in rules for pattern in rule.outputs]
    edges = set()
    for rule in rules:
        for pattern in map(_split, rule.inputs):
            edges |= {
                (name, rule.name) for name, output in written if name != rule.name and _meet(output, pattern)
            }
    return edges
