"""Code digests: what a result was made by, told by syntax trees.

Snakemake does not see edits to imported modules, so rules carry the digest of their script and of every
polyalign module it imports, directly or not. Comments, docstrings and formatting do not count.
"""

import ast
import hashlib
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from polyalign.errors import BadInput
from polyalign.files import sha256_json
from polyalign.settings import read_yaml
from polyalign.throughput import collector_paused

PACKAGE = Path(__file__).resolve().parent
ROOT = PACKAGE.parent


def module_file(name: str) -> Path | None:
    """File of a dotted module of this package, or None where `name` is no such module."""
    stem = ROOT.joinpath(*name.split("."))
    for candidate in (stem / "__init__.py", stem.with_suffix(".py")):
        if candidate.is_file():
            return candidate
    return None


def _package_of(file: Path) -> list[str]:
    """Parts of the package that relative imports in `file` start from; empty outside this package."""
    whole = file.resolve()
    return list(whole.relative_to(ROOT).parent.parts) if whole.is_relative_to(PACKAGE) else []


def _imported_modules(imports: Iterable[ast.Import | ast.ImportFrom], package: list[str]) -> set[str]:
    """Dotted names of polyalign modules among what import statements name."""
    names: set[str] = set()
    for node in imports:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        else:
            start = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*start, *([node.module] if node.module else [])])
            names.add(module)
            # `from polyalign.features import lm` imports a submodule.
            names |= {f"{module}.{alias.name}" for alias in node.names}
    return {name for name in names if name.split(".")[0] == PACKAGE.name and module_file(name)}


def _is_docstring(node: ast.AST) -> bool:
    """Whether it is a string that stands alone as a statement: a docstring, those of attributes included."""
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def _write_code(node: object, out: list[str], imports: list[ast.Import | ast.ImportFrom]) -> None:
    """Append the pieces of a tree's text without docstrings to `out`, its import statements to `imports`.

    Every dry-run takes all files through this: one pass for what `ast.dump`, `ast.walk` and a transformer do in three.
    """
    if isinstance(node, ast.AST):
        if _is_docstring(node):
            return
        if isinstance(node, ast.Import | ast.ImportFrom):
            imports.append(node)
        out += (type(node).__name__, "(")
        for field in node._fields:
            if field != "ctx":  # whether a name is read or set, which its place says too
                _write_code(getattr(node, field), out, imports)
        out.append(")")
    elif isinstance(node, list):
        out.append("[")
        for item in node:
            _write_code(item, out, imports)
        out.append("]")
    else:
        out += (repr(node), ",")


@cache
def _parse(file: Path) -> tuple[str, frozenset[str]]:
    """(digest of the syntax tree, imported polyalign modules) of one file."""
    text = file.read_text(encoding="utf-8")
    out: list[str] = []
    imports: list[ast.Import | ast.ImportFrom] = []
    with collector_paused():
        _write_code(ast.parse(text, filename=str(file)), out, imports)
    digest = hashlib.sha256("".join(out).encode()).hexdigest()
    return digest, frozenset(_imported_modules(imports, _package_of(file)))


def _with_parents(name: str) -> list[str]:
    """A dotted name and its packages: importing `a.b.c` also runs `a` and `a.b`."""
    parts = name.split(".")
    return [".".join(parts[: end + 1]) for end in range(len(parts))]


def code_files(start: Path) -> dict[str, str]:
    """{module or file name: syntax-tree digest} of a Python file and all polyalign modules it reaches."""
    digest, imports = _parse(start)
    files = {start.name: digest}
    waiting = sorted(imports)
    while waiting:
        for name in _with_parents(waiting.pop()):
            if name not in files and (file := module_file(name)):
                files[name], found = _parse(file)
                waiting += sorted(found)
    return files


@cache
def code_digest(target: str) -> str:
    """Short digest of a Python file (path) or polyalign module (dotted name) and of all it imports here."""
    file = Path(target) if target.endswith(".py") else module_file(target)
    if file is None or not file.is_file():
        raise BadInput(f"no code named {target!r}", expected="a Python file or a module of polyalign")
    listing = "\n".join(f"{name} {digest}" for name, digest in sorted(code_files(file).items()))
    return hashlib.sha256(listing.encode()).hexdigest()[:16]


@cache
def environment_digest(file: str) -> str:
    """`STAGE environment DIGEST` of an environment file, from what it asks for: comments do not count."""
    return f"{Path(file).stem} environment {sha256_json(read_yaml(file))[:16]}"
