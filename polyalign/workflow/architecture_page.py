"""Write docs/architecture.md and its picture, from the rules as they are written and the imports of the package.

    python -m polyalign.workflow.architecture_page

Run it after every change of a rule, a script or an import; a test holds both files to the code.
"""

import ast
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path

from polyalign.digest import PACKAGE, ROOT, module_file
from polyalign.files import write_text
from polyalign.markdown import table
from polyalign.workflow.architecture_picture import Stage, draw
from polyalign.workflow.rule_files import Rule, read_rules, rule_edges

PAGE_FILE = Path("docs/architecture.md")
PICTURE_FILE = Path("docs/images/architecture.svg")

_INTRODUCTION = """\
# Architecture

Where everything is: from the name of an artifact to the rule that makes it, the script of the rule, and the function
of the package that does the work. Written by `python -m polyalign.workflow.architecture_page` from the rules and the
imports: change those, not this page.

Data flow one way: raw corpora become records, records become views and features, features become references;
references, records and answers of models train the critic and the methods; models answer, answers are measured, and
measurements become tables. A stage is a file of `rules/`. Its rules are thin: each names its inputs, outputs and
parameters and runs the script of the same name in `workflow_scripts/`, which hands plain values to one function of
`polyalign/`. The package knows nothing of Snakemake, so every function can be called, and tested, without it.

![Stages of the workflow from top to bottom, with the rules of each and lines to the stages that read what it \
makes](images/architecture.svg)

A line begins at the stage of its colour and ends in every stage that reads something of it. Dashed lines go back up:
answers of trained models become the pairs that further models are trained on, and released artifacts may stand where
the workflow would make its own.

How a run is made of this (what is stale, what a killed job does, environments, profiles): [workflow](workflow.md). What
the method computes: [method](method.md). How to add to it: [CONTRIBUTING](../CONTRIBUTING.md).

## From an artifact to its code

Search this page for the file's name. `{lang}`, `{method}`, `{model}` and so on stand for any value, `{md,csv}` for each
of these. Manifests stand beside or inside what they describe, logs in `logs/{rule}/`, resources used in
`benchmarks/{rule}/`.
"""

_ROOMS = """\
## Rooms of the package

A module or package of `polyalign/` is a room. Rooms come in an order and import only earlier ones, which a test holds:
[test_rooms.py](../tests/workflow/test_rooms.py). In the table, a room stands
below all that it imports.
"""


def _link(path: str, text: str | None = None) -> str:
    return f"[{text or path}](../{path})"


def _stage_name(file: str) -> str:
    return Path(file).stem


def stages(rules: Sequence[Rule]) -> dict[str, list[Rule]]:
    """{file: its rules} of the files with rules that run a script, in the order of the Snakefile."""
    found: dict[str, list[Rule]] = {}
    for rule in rules:
        if rule.script:
            found.setdefault(rule.file, []).append(rule)
    return found


def _folders(rules: Sequence[Rule]) -> tuple[str, ...]:
    """The folders that rules write to, two levels deep."""
    return tuple(dict.fromkeys("/".join(path.split("/")[:2]) for rule in rules for path in rule.outputs))


def picture() -> str:
    """docs/images/architecture.svg."""
    rules = read_rules(ROOT)
    files = {rule.name: rule.file for rule in rules}
    edges = {(_stage_name(files[a]), _stage_name(files[b])) for a, b in rule_edges(rules)}
    boxes = [
        Stage(_stage_name(file).replace("_", " "), file, tuple(rule.name for rule in own), _folders(own))
        for file, own in stages(rules).items()
    ]
    return draw(boxes, {(a.replace("_", " "), b.replace("_", " ")) for a, b in edges})


def _function(name: str) -> str:
    """`module.function` as a link to the module's file."""
    module, function = name.rsplit(".", 1)
    file = module_file(module) or module_file(name)
    assert file is not None, name
    return _link(str(file.relative_to(ROOT)), f"{module.removeprefix('polyalign.')}.{function}")


def _rows(rules: Sequence[Rule]) -> Iterator[list[str]]:
    for rule in rules:
        yield [
            "<br>".join(f"`{path}`" for path in rule.outputs),
            f"`{rule.name}`",
            _link(rule.script, Path(rule.script).name),
            "<br>".join(map(_function, rule.calls)),
        ]


def _targets(rules: Sequence[Rule]) -> Iterator[str]:
    yield "### Targets"
    yield ""
    yield f"Names for `snakemake NAME` that ask for several artifacts, in {_link('Snakefile')}."
    yield ""
    rows = ([f"`{r.name}`", "<br>".join(f"`{path}`" for path in r.inputs)] for r in rules if not r.script)
    yield from table(["target", "asks for"], rows)


@cache
def _tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def _purpose(file: Path) -> str:
    """The first sentence or clause of a module's docstring."""
    text = (ast.get_docstring(_tree(file)) or "").split("\n\n")[0]
    line = " ".join(text.split())
    return line[:-1] if line.endswith((".", ":")) else line


def rooms() -> dict[str, list[Path]]:
    """{room: its files}, the one that names the room first."""
    found: dict[str, list[Path]] = {}
    for file in sorted(PACKAGE.rglob("*.py")):
        name = file.relative_to(PACKAGE).parts[0].removesuffix(".py")
        if not name.startswith("__"):
            found.setdefault(name, []).append(file)
    return {name: sorted(files, key=lambda file: file.name != "__init__.py") for name, files in found.items()}


def room_imports() -> dict[str, set[str]]:
    """{room: other rooms that it imports}."""
    found: dict[str, set[str]] = {}
    for room, files in rooms().items():
        found[room] = set()
        for node in (node for file in files for node in ast.walk(_tree(file))):
            if isinstance(node, ast.ImportFrom) and node.module == "polyalign":
                found[room] |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("polyalign."):
                found[room].add(node.module.split(".")[1])
        found[room] = {name for name in found[room] if name != room and not name.startswith("_")}
    return found


def _below(imports: dict[str, set[str]]) -> dict[str, int]:
    """How many rooms each one needs, directly or not; rooms that need each other do not count."""
    needs = {room: set(others) for room, others in imports.items()}
    for through in needs:
        for others in needs.values():
            if through in others:
                others |= needs[through]
    return {room: sum(room not in needs.get(other, ()) for other in others) for room, others in needs.items()}


def _room_rows() -> Iterator[list[str]]:
    imports, files = room_imports(), rooms()
    below = _below(imports)
    readers = {room: sum(room in others for others in imports.values()) for room in files}
    for room in sorted(files, key=lambda name: (below[name], name)):
        path = str(files[room][0].relative_to(ROOT)).removesuffix("/__init__.py")
        modules = len(files[room]) - (len(files[room]) > 1)
        yield [
            _link(str(files[room][0].relative_to(ROOT)), path.removeprefix("polyalign/")),
            _purpose(files[room][0]),
            str(modules),
            str(readers[room]),
        ]


def page() -> str:
    """docs/architecture.md."""
    rules = read_rules(ROOT)
    lines = [_INTRODUCTION]
    for file, own in stages(rules).items():
        name = _stage_name(file).replace("_", " ")
        lines += [f"### {name[0].upper()}{name[1:]}", "", f"{_link(file)}", ""]
        lines += table(["artifact", "rule", "script", "calls"], _rows(own))
    lines += [*_targets(rules), _ROOMS]
    lines += table(["room", "what it is", "modules", "imported by rooms"], _room_rows())
    return "\n".join(lines).rstrip() + "\n"


GENERATED: dict[Path, Callable[[], str]] = {PAGE_FILE: page, PICTURE_FILE: picture}
"""What is generated, by path in the repository."""


def main() -> None:
    """Write every generated file."""
    for name, text in GENERATED.items():
        write_text(ROOT / name, text())
        print(f"wrote {name}")


if __name__ == "__main__":
    main()
