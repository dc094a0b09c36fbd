"""The chain of manifests behind one artifact: what it was made from, down to raw files, and whether that holds.

Every step writes a manifest with the digests of its inputs and outputs (docs/workflow.md). Walking from a
report through the manifests that list its inputs reaches the raw files; on the way each digest is compared
with the file as it is now.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.tree import Tree

from polyalign.errors import BadInput
from polyalign.files import StrPath, sha256_file
from polyalign.manifest import read_manifest
from polyalign.progress import track

_FOLDERS = ("results", "resources")


@dataclass(frozen=True)
class Step:
    """One manifest of the chain.

    Attributes:
        manifest: its path below the working directory.
        content: what it holds.
        sources: manifests that list its inputs as outputs, each once.
        problems: what does not agree with the files as they are now.
    """

    manifest: str
    content: dict[str, Any]
    sources: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The step's rule."""
        return str(self.content.get("step"))


def working_directory(artifact: StrPath) -> tuple[Path, str]:
    """(working directory, path below it) of an artifact in results/ or resources/.

    Raises:
        BadInput: no such file, or it lies in no working directory.
    """
    path = Path(artifact)
    if not path.is_file():
        raise BadInput(
            "no such file", file=path, expected="an artifact such as results/metrics/en_hdpo_tiny.json"
        )
    whole = path.resolve()
    for parent in whole.parents:
        below = whole.relative_to(parent)
        if below.parts[0] in _FOLDERS:
            return parent, below.as_posix()
    raise BadInput("lies in no working directory", file=path, expected="a path below results/ or resources/")


def find_manifests(root: Path) -> dict[str, str]:
    """{artifact: manifest that lists it as output}; a manifest also stands for itself."""
    found: dict[str, str] = {}
    for folder in _FOLDERS:
        for path in sorted((root / folder).rglob("*manifest.json")):
            name = path.relative_to(root).as_posix()
            found[name] = name
            for output in read_manifest(path)["outputs"]:
                found.setdefault(output, name)
    return found


def _compare(root: Path, listed: dict[str, str], kind: str, digest: Any) -> Iterator[str]:
    for name, expected in listed.items():
        if not (root / name).is_file():
            yield f"{kind} {name} is gone"
        elif digest(root / name) != expected:
            yield f"{kind} {name} is not the file this step {'read' if kind == 'input' else 'wrote'}"


def trace(artifact: StrPath, *, verify: bool = True) -> tuple[Path, list[Step]]:
    """(working directory, steps) behind an artifact, the last step first and every step once.

    Args:
        verify: compare every listed digest with the file as it is now; files are read once.

    Raises:
        BadInput: no such artifact, or no manifest lists it.
    """
    root, name = working_directory(artifact)
    producers = find_manifests(root)
    if name not in producers:
        raise BadInput(
            "no manifest lists this file", file=artifact, fix="ask for an artifact that a rule makes"
        )
    order, seen = [producers[name]], {producers[name]}
    steps: list[Step] = []
    for manifest in order:
        content = read_manifest(root / manifest)
        sources = [producers[source] for source in content["inputs"] if source in producers]
        sources = list(dict.fromkeys(source for source in sources if source != manifest))
        steps.append(Step(manifest, content, sources))
        order += [source for source in sources if source not in seen]
        seen.update(sources)
    if verify:
        digest = cache(sha256_file)
        for step in track(steps, total=len(steps), label="verify", unit="steps"):
            step.problems.extend(_compare(root, step.content["outputs"], "output", digest))
            step.problems.extend(_compare(root, step.content["inputs"], "input", digest))
    return root, steps


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _settings(content: dict[str, Any]) -> str:
    flat = {key: value for key, value in content["params"].items() if not isinstance(value, dict | list)}
    return ", ".join(f"{key}={_short(value)}" for key, value in flat.items() if value is not None)


def print_trace(steps: list[Step], *, verified: bool, console: Console | None = None) -> None:
    """The chain as a tree; a step that several others need is shown whole the first time only."""
    # A pipe has no width of its own, and a tree is cut to the width it is given.
    console = console or Console(width=None if sys.stdout.isatty() else 250)
    by_manifest = {step.manifest: step for step in steps}
    shown: set[str] = set()

    def add(tree: Tree, manifest: str) -> None:
        step = by_manifest[manifest]
        mark = "" if not verified else "[red]✗[/] " if step.problems else "[green]✓[/] "
        label = f"{mark}[bold]{step.name}[/] {manifest}"
        if manifest in shown:
            tree.add(f"{label} [dim](above)[/]")
            return
        shown.add(manifest)
        branch = tree.add(f"{label} [dim]code {step.content['code']}[/]")
        if settings := _settings(step.content):
            branch.add(f"[dim]{settings.replace('[', chr(92) + '[')}[/]")
        for problem in step.problems:
            branch.add(f"[red]{problem}[/]")
        for source in step.sources:
            add(branch, source)

    root = Tree("", hide_root=True)
    add(root, steps[0].manifest)
    console.print(root)
    problems = sum(len(step.problems) for step in steps)
    files = {name for step in steps for name in (*step.content["inputs"], *step.content["outputs"])}
    verdict = (
        "not verified" if not verified else f"{problems} problems" if problems else "every digest agrees"
    )
    console.print(f"{len(steps)} steps, {len(files)} files: {verdict}")


def trace_values(steps: list[Step]) -> list[dict[str, Any]]:
    """The chain as plain JSON values."""
    return [
        {"manifest": step.manifest, "sources": step.sources, "problems": step.problems, **step.content}
        for step in steps
    ]
