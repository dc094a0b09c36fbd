"""A copy of the checkout and the small demo in it, for tests that run the whole workflow."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.snakemake_runs import run_snakemake

TARGETS = ("tables", "views", "human_eval")


@dataclass(frozen=True)
class Demo:
    """A copy of the repository and the folder its small demo was built in.

    Attributes:
        configs: what makes the demo small, each over the one before.
    """

    root: Path
    runs: Path
    configs: tuple[str, ...] = ("tests/e2e/small.yaml",)

    def snakemake(
        self, *options: str | Path, targets: Sequence[str] = TARGETS, timeout: int = 1200
    ) -> subprocess.CompletedProcess[str]:
        """Run the demo profile, small, from the copy."""
        words = self.options(*options, targets=targets)
        return run_snakemake(*words, cwd=self.root, environment=self.environment, timeout=timeout)

    def command(self, *options: str | Path, targets: Sequence[str] = TARGETS) -> list[str]:
        """The command line of such a run."""
        return [sys.executable, "-m", "snakemake", *self.options(*options, targets=targets)]

    def options(self, *options: str | Path, targets: Sequence[str]) -> list[str]:
        """What follows `snakemake` in it."""
        small = ["--configfile", "config/demo.yaml", *self.configs]
        base = ["--profile", "profiles/demo", *small, "--directory", str(self.runs)]
        return [*base, *map(str, options), "--", *targets]

    @property
    def environment(self) -> dict[str, str]:
        # No PYTHONPATH: the copy's own modules must be the ones that run.
        return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    def outcome(self, *options: str | Path, targets: Sequence[str] = TARGETS) -> str:
        """Standard output and error of a run that must succeed."""
        done = self.snakemake(*options, targets=targets)
        text = done.stdout + done.stderr
        assert done.returncode == 0, text[-6000:]
        return text


def copy_checkout(root: Path, target: Path) -> Path:
    """Copy the files that git tracks or would track."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in filter(None, listing.stdout.split("\0")):
        source, copy = root / name, target / name
        if source.is_symlink() or source.is_file():
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, copy, follow_symlinks=False)
    return target


def planned_jobs(text: str) -> dict[str, int]:
    """{rule: jobs} of a dry-run, without the target rules."""
    if "Job stats:" not in text:
        return {}
    jobs = re.findall(r"^(\w+) +(\d+)$", text.split("Job stats:")[1], flags=re.MULTILINE)
    targets = ("total", "tables", "metrics", "views", "human_eval")
    return {name: int(count) for name, count in jobs if name not in targets}


def edit(path: Path, old: str, new: str) -> Callable[[], None]:
    """Replace text in a file of the copy; returns what undoes it."""
    text, stat = path.read_text(), path.stat()
    assert old in text
    path.write_text(text.replace(old, new, 1))

    def undo() -> None:
        path.write_text(text)
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))

    return undo
