"""Run one workflow script: log to the rule's log, turn errors into one line, write the manifest last."""

import gc
import logging
import os
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from polyalign.environments import enter_environment
from polyalign.errors import PolyAlignError, storage_problem
from polyalign.manifest import write_manifest
from polyalign.slim_import import spare_pandas

log = logging.getLogger("polyalign")

PARTS = "parts"
"""Parameter of a rule whose job does the work of several: the wildcards that tell them apart."""
_FEWER_COLLECTIONS = (100_000, 50, 100)
"""Python looks for garbage after so many new objects; with its own 700 that is a tenth of loading Transformers."""


def _log_to(path: str) -> None:
    """Send standard output, standard error, warnings and every logger of this process to `path`."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    os.close(handle)
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.captureWarnings(True)


class Named(dict[str, Any]):
    """Values by name, as keys and as attributes."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None


@dataclass(frozen=True)
class Part:
    """One of several jobs that a job does the work of; to a script, a job like another."""

    rule: str
    threads: int
    wildcards: Named
    input: Named
    output: Named
    params: Named


def parts_of(job: Any) -> list[Any]:
    """The jobs that `job` does the work of, by its parameter `parts`, the wildcards of each; without it, `job` alone.

    Of its files and parameters, a list with as many items as there are parts holds one for each; anything else is for
    all of them.
    """
    parts = job.params.get(PARTS)
    if parts is None:
        return [job]

    def of_part(named: Any, number: int) -> Named:
        values = ((name, value) for name, value in named.items() if name != PARTS)
        return Named(
            (name, value[number] if isinstance(value, list) and len(value) == len(parts) else value)
            for name, value in values
        )

    return [
        Part(
            job.rule,
            job.threads,
            Named({**dict(job.wildcards.items()), **wildcards}),
            *(of_part(named, number) for named in (job.input, job.output, job.params)),
        )
        for number, wildcards in enumerate(parts)
    ]


def _paths(files: Any) -> Iterator[str]:
    """Paths of a Snakemake namedlist or of a part of one, lists among them included."""
    for file in files.values() if isinstance(files, Named) else files:
        yield from map(str, file) if isinstance(file, list) else [str(file)]


def _flat(files: Iterable[Any]) -> list[str]:
    """These paths, each file once, directories left out."""
    return [name for name in dict.fromkeys(_paths(files)) if Path(name).is_file()]


def _json_params(params: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in params.items() if name != "code"}


def _write_manifest(job: Any, details: Mapping[str, Any] | None) -> None:
    """Write the rule's `manifest` output, if it has one."""
    manifest = job.output.get("manifest")
    if manifest:
        write_manifest(
            manifest,
            step=job.rule,
            inputs=_flat(job.input),
            outputs=[name for name in _flat(job.output) if name != str(manifest)],
            params=_json_params(dict(job.params.items())),
            code=job.params.get("code"),
            details=details,
        )


def run_job(snakemake: Any, main: Callable[[Any], Mapping[str, Any] | None]) -> None:
    """Run `main(job)` for the rule that `snakemake` describes, then write its `manifest` output.

    `main` reads and writes the files that the job names and returns details for the manifest; lines under their
    key `warnings` are shown on the terminal too. A job that does the work of several runs it for each, see `parts_of`.
    A `PolyAlignError` ends the process with one clear line and its exit code (2, or 75 for a stopped run that can go
    on); any other exception leaves its traceback in the log.
    """
    if main.__module__ == "__mp_main__":
        # A worker process that a library started: it imports the script and must not run the job again.
        return
    terminal = os.dup(2)

    def show(message: str) -> None:
        """Say it on the terminal that started the workflow."""
        os.write(terminal, f"{snakemake.rule}: {message}\n".encode())

    try:
        enter_environment(snakemake.rule)
    except PolyAlignError as error:
        show(str(error))
        sys.exit(error.exit_code)
    if snakemake.log:
        _log_to(snakemake.log[0])

    def tell(message: str) -> None:
        """Say it in the log and on the terminal."""
        log.error(message)
        show(message)

    gc.set_threshold(*_FEWER_COLLECTIONS)
    spare_pandas()
    if devices := os.environ.get("CUDA_VISIBLE_DEVICES"):
        log.info("GPUs given to this job: CUDA_VISIBLE_DEVICES=%s", devices)
    try:
        for job in parts_of(snakemake):
            details = main(job)
            _write_manifest(job, details)
            for line in (details or {}).get("warnings", ()):
                show(line)
        # Otherwise Python looks for garbage among all that Torch and Transformers made, a second before it ends.
        gc.freeze()
    except PolyAlignError as error:
        tell(str(error))
        sys.exit(error.exit_code)
    except Exception as error:
        traceback.print_exc()
        if isinstance(error, OSError) and (problem := storage_problem(error)):
            tell(str(problem))
            sys.exit(problem.exit_code)
        place = snakemake.log[0] if snakemake.log else "this log"
        tell(f"{type(error).__name__}: {error} (traceback in {place})")
        sys.exit(1)
