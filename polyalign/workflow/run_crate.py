"""A provenance chain as a Workflow Run RO-Crate (https://w3id.org/ro/wfrun/workflow/0.5).

The crate holds the workflow's code, the manifests and every file of the chain up to a size; larger files are
named by digest. Each step is an action with its inputs, outputs and script.
"""

from pathlib import Path
from typing import Any

from rocrate.model.contextentity import ContextEntity
from rocrate.rocrate import ROCrate

from polyalign import __version__
from polyalign.digest import ROOT
from polyalign.errors import BadInput
from polyalign.files import StrPath, atomic_directory
from polyalign.workflow.provenance import Step

_PROFILES = {
    "https://w3id.org/ro/wfrun/process/0.5": "Process Run Crate",
    "https://w3id.org/ro/wfrun/workflow/0.5": "Workflow Run Crate",
    "https://w3id.org/workflowhub/workflow-ro-crate/1.0": "Workflow RO-Crate",
}
_LICENSE = "https://spdx.org/licenses/Apache-2.0"


def _entity(crate: ROCrate, identifier: str, properties: dict[str, Any]) -> ContextEntity:
    return crate.add(ContextEntity(crate, identifier, properties=properties))


def _add_profiles(crate: ROCrate) -> None:
    profiles = []
    for identifier, name in _PROFILES.items():
        version = identifier.rsplit("/", 1)[1]
        properties = {"@type": "CreativeWork", "name": name, "version": version}
        profiles.append(_entity(crate, identifier, properties))
    crate.root_dataset["conformsTo"] = profiles


def _add_workflow(crate: ROCrate, steps: list[Step]) -> ContextEntity:
    """The Snakefile as main entity, rules and the scripts of the chain as its parts."""
    workflow = crate.add_workflow(ROOT / "Snakefile", "Snakefile", main=True, lang="snakemake")
    workflow["name"] = "PolyAlign"
    workflow["version"] = __version__
    parts = [crate.add_file(rules, f"rules/{rules.name}") for rules in sorted((ROOT / "rules").glob("*.smk"))]
    for rule in dict.fromkeys(step.name for step in steps):
        script = ROOT / "workflow_scripts" / f"{rule}.py"
        if script.is_file():
            parts.append(
                crate.add_file(
                    script,
                    f"workflow_scripts/{script.name}",
                    properties={"@type": ["File", "SoftwareSourceCode", "SoftwareApplication"], "name": rule},
                )
            )
    workflow["hasPart"] = parts
    return workflow


class _Files:
    """Data entities of the crate, each file once."""

    def __init__(self, crate: ROCrate, root: Path, max_bytes: int) -> None:
        self.crate, self.root, self.max_bytes = crate, root, max_bytes
        self.known: dict[str, ContextEntity] = {}

    def entity(self, name: str, digest: str | None) -> ContextEntity:
        """The file's entity: inside the crate where it is small enough and below the working directory."""
        if name not in self.known:
            path = self.root / name
            properties = {"name": name, "sha256": digest} if digest else {"name": name}
            inside = path.is_file() and not Path(name).is_absolute() and ".." not in Path(name).parts
            if inside and path.stat().st_size <= self.max_bytes:
                properties["contentSize"] = str(path.stat().st_size)
                self.known[name] = self.crate.add_file(path, name, properties=properties)
            else:
                self.known[name] = _entity(
                    self.crate, f"urn:sha256:{digest}", {"@type": "CreativeWork", **properties}
                )
        return self.known[name]


def _add_action(crate: ROCrate, files: _Files, step: Step) -> ContextEntity:
    script = crate.get(f"workflow_scripts/{step.name}.py") or crate.mainEntity
    inputs = [files.entity(name, digest) for name, digest in step.content["inputs"].items()]
    outputs = [files.entity(name, digest) for name, digest in step.content["outputs"].items()]
    action = _entity(
        crate,
        f"#{step.manifest}",
        {
            "@type": "CreateAction",
            "name": f"{step.name}: {step.manifest}",
            "description": f"code digest {step.content['code']}",
            "actionStatus": "http://schema.org/CompletedActionStatus",
        },
    )
    action["instrument"] = script
    action["object"] = inputs
    action["result"] = [*outputs, files.entity(step.manifest, None)]
    return action


def write_crate(out: StrPath, root: Path, steps: list[Step], *, max_megabytes: int = 20) -> int:
    """Write the chain behind `steps[0]` as a Workflow Run RO-Crate; returns the number of files it holds.

    Args:
        out: folder of the crate, written whole or not at all.
        root: working directory of the run.
        steps: the chain, the last step first.
        max_megabytes: larger files are named by digest, not copied.

    Raises:
        BadInput: `out` exists and is no crate.
    """
    folder = Path(out)
    if folder.exists() and not (folder / "ro-crate-metadata.json").is_file():
        raise BadInput("exists and is no RO-Crate", file=folder, fix="give another folder")
    crate = ROCrate(version="1.1")  # the version that the run profiles build on
    crate.name = f"Provenance of {next(iter(steps[0].content['outputs']))}"
    crate.description = "Every step from raw files to this result, with inputs, outputs, code and digests."
    crate.license = _entity(crate, _LICENSE, {"@type": "CreativeWork", "name": "Apache License 2.0"})
    _add_profiles(crate)
    workflow = _add_workflow(crate, steps)
    workflow["license"] = crate.license
    files = _Files(crate, root, max_megabytes * 1_000_000)
    actions = [_add_action(crate, files, step) for step in reversed(steps)]
    whole = _entity(
        crate,
        "#run",
        {
            "@type": "CreateAction",
            "name": f"run of the workflow that made {crate.name.removeprefix('Provenance of ')}",
            "actionStatus": "http://schema.org/CompletedActionStatus",
        },
    )
    produced = {name for step in steps for name in step.content["outputs"]}
    manifests = {step.manifest for step in steps}
    first = {
        name: digest
        for step in steps
        for name, digest in step.content["inputs"].items()
        if name not in produced | manifests
    }
    whole["instrument"] = workflow
    whole["object"] = [files.entity(name, digest) for name, digest in first.items()]
    whole["result"] = [files.entity(name, digest) for name, digest in steps[0].content["outputs"].items()]
    crate.root_dataset["mentions"] = [whole, *actions]
    with atomic_directory(folder) as partial:
        crate.write(partial)
    return sum(1 for entity in files.known.values() if not str(entity.id).startswith("urn:"))
