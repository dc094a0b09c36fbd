"""Commands of the documentation: those of the README's section on one's own data are run as they stand there."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from polyalign.demo.sources import write_demo_source
from polyalign.files import read_jsonl, write_jsonl
from polyalign.markdown import prose
from polyalign.metrics.report import read_report

ROOT = Path(__file__).resolve().parents[2]


def commands() -> list[str]:
    """Commands of the section: its indented lines, continued ones joined."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    section = text.split("## Your own data\n")[1].split("\n## ")[0]
    outside = {number for number, _ in prose(section)}
    lines = [
        line.strip() for number, line in enumerate(section.splitlines(), start=1) if number not in outside
    ]
    return re.sub(r"\\\n\s*", "", "\n".join(lines)).splitlines()


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Raw files of dolly; the page's relative paths start here."""
    made = tmp_path_factory.mktemp("readme")
    write_demo_source("dolly", made / "raw/dolly", rows=120, seed=3)
    return made


def run(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        ["sh", "-c", command],
        cwd=folder,
        env={**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)},
        text=True,
        capture_output=True,
        timeout=300,
        check=False,
    )


def test_own_predictions_are_measured_by_hand(folder):
    by_hand = [command for command in commands() if command.startswith("python -m polyalign")]
    assert [command.split()[3] for command in by_hand] == [
        "format",
        "features",
        "references",
        "evaluate",
        "tables",
    ]
    for command in by_hand:
        if " evaluate " in command:
            rows = [row for _, row in read_jsonl(folder / "formatted/dolly/test.jsonl")]
            write_jsonl(
                folder / "mine.jsonl",
                (
                    {"source_index": index, "prediction": row["human_answer"]}
                    for index, row in enumerate(rows)
                ),
            )
        done = run(command, folder)
        assert done.returncode == 0, f"{command}\n{done.stderr}"
    assert read_report(folder / "en_sft_mine.json").metrics.utility.overall.qa_f1 == 1
    assert "SFT" in (folder / "tables/main_en.html").read_text(encoding="utf-8")


def test_the_workflow_takes_raw_files_that_are_there(folder):
    (command,) = [command for command in commands() if command.startswith("snakemake")]
    here = command.replace("{mirror: raw}", f"{{mirror: {folder}/raw}}").replace(
        "runs/mine", str(folder / "run")
    )
    done = subprocess.run(
        ["sh", "-c", here.replace("snakemake ", f"{sys.executable} -m snakemake -n ", 1)],
        cwd=ROOT, text=True, capture_output=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "results/metrics/en_hdpo_tiny.json" in done.stdout + done.stderr


def snakemake_commands() -> list[list[str]]:
    """Words of every Snakemake command of every page, comments taken off."""
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
    texts = [re.sub(r"\\\n\s*", "", page.read_text(encoding="utf-8")) for page in pages]
    lines = [line.strip() for text in texts for line in text.splitlines()]
    return [shlex.split(line, comments=True) for line in lines if line.startswith("snakemake ")]


def test_no_target_stands_where_snakemake_looks_for_a_value():
    """--config and --configfile take every word up to the next option."""
    assert len(snakemake_commands()) > 20
    for words in snakemake_commands():
        option = ""
        for word in words:
            option = word if word.startswith("-") else option
            if word != option and option in ("--config", "--configfile"):
                assert "=" in word if option == "--config" else word.endswith(".yaml"), words
