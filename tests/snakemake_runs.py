"""Starts of Snakemake for tests: each a process of its own, forked from one that has imported Snakemake already.

Half of a dry-run is importing Snakemake and what it brings, and the tests start it some eighty times. Where Slurm is
installed and no controller runs, importing its plugin waits nine seconds for one. The package is imported anew by every
start: some run in a copy of the checkout, and some after an edit of it.
"""

import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(
    ["pytest", "snakemake.cli", "snakemake_executor_plugin_slurm", "pydantic", "pyarrow.parquet"]
)


def _main(arguments: Sequence[str], cwd: Path, environment: Mapping[str, str], said: Sequence[Path]) -> None:
    """What `python -m snakemake ARGUMENTS` does, in the new process."""
    for stream, file in enumerate(said, start=1):
        handle = os.open(file, os.O_WRONLY | os.O_CREAT)
        os.dup2(handle, stream)
        os.close(handle)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    sys.path.insert(0, str(cwd))
    sys.argv = ["snakemake", *arguments]
    from snakemake.cli import main

    main()


def run_snakemake(
    *arguments: str | Path, cwd: Path, environment: Mapping[str, str], timeout: int
) -> subprocess.CompletedProcess[str]:
    """Run `snakemake ARGUMENTS` in a folder; raises `subprocess.TimeoutExpired` after `timeout` seconds."""
    words = list(map(str, arguments))
    with tempfile.TemporaryDirectory() as folder:
        said = [Path(folder, name) for name in ("stdout", "stderr")]
        process = _FORKS.Process(target=_main, args=(words, cwd, dict(environment), said))
        process.start()
        process.join(timeout)
        if process.is_alive():
            process.kill()
            raise subprocess.TimeoutExpired(["snakemake", *words], timeout)
        stdout, stderr = (file.read_text(encoding="utf-8") for file in said)
    return subprocess.CompletedProcess(["snakemake", *words], process.exitcode or 0, stdout, stderr)
