"""Commands around the workflow: where, status, provenance, container."""

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from polyalign.cli.app import Folder, app, say

# Heavy imports stand inside the commands that need them, so that --help answers at once.


@app.command()
def where(
    folder: Annotated[Path, typer.Argument(help="Working directory of a run, e.g. runs/demo.")],
) -> None:
    """Show a run's tables and say where its artifacts are."""
    from polyalign.overview import overview

    print(overview(folder))


@app.command()
def status(
    configfile: Annotated[
        list[Path] | None,
        typer.Option(help="Configuration merged over config/config.yaml; repeat for several."),
    ] = None,
    directory: Annotated[Path, typer.Option(help="Working directory of the run, e.g. runs/demo.")] = Path(),
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Show which cells of the grid are fresh, stale or missing, why, and the GPU hours to bring them up to date."""
    from polyalign.digest import ROOT
    from polyalign.workflow.status import grid_status, print_status, status_values

    files = [path.resolve() for path in configfile or []]
    found = grid_status(root=ROOT, directory=directory.resolve(), configfiles=files)
    print(json.dumps(status_values(found), indent=2)) if as_json else print_status(found)


@app.command()
def provenance(
    artifact: Annotated[
        Path, typer.Argument(help="An artifact of a run, e.g. results/metrics/en_hdpo_tiny.json.")
    ],
    verify: Annotated[bool, typer.Option(help="Compare every digest with the file as it is now.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a tree.")] = False,
    crate: Annotated[
        Path | None, typer.Option(help="Also write the chain as a Workflow Run RO-Crate to this folder.")
    ] = None,
    max_megabytes: Annotated[int, typer.Option(help="Larger files are named in the crate, not copied.")] = 20,
) -> None:
    """Show the chain of manifests behind a number and verify its digests; a broken chain exits with 1."""
    from polyalign.workflow.provenance import print_trace, trace, trace_values

    root, steps = trace(artifact, verify=verify)
    print(json.dumps(trace_values(steps), indent=2)) if as_json else print_trace(steps, verified=verify)
    if crate is not None:
        from polyalign.workflow.run_crate import write_crate

        count = write_crate(crate, root, steps, max_megabytes=max_megabytes)
        say(f"RO-Crate of {len(steps)} steps and {count} files -> {crate}")
    if any(step.problems for step in steps):
        raise typer.Exit(1)


@app.command()
def container(
    stage: Annotated[
        str, typer.Argument(help="Stage of an environment, e.g. train; a wrong name lists them.")
    ],
    out: Folder,
    variant: Annotated[
        Literal["cuda", "cpu", "rocm"], typer.Option(help="What the image's torch runs on.")
    ] = "cuda",
) -> None:
    """Write an Apptainer definition of a stage's environment, and a Python to name in `environments`."""
    from polyalign.workflow.containers import write_container

    write_container(stage, variant, out)
    say(f"next: apptainer build {out}/{stage}.sif {out}/{stage}.def")
    say(f"then, in the configuration: environments: {{{stage}: {out}}}")
