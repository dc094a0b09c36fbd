"""`python -m polyalign status` on the whole paper, from the real dry-run."""

import json
import subprocess
import sys


def run_status(root, *arguments) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "polyalign", "status", *map(str, arguments)]
    return subprocess.run(command, cwd=root, text=True, capture_output=True, check=False, timeout=300)


def test_the_paper_grid_from_nothing(root, tmp_path):
    done = run_status(root, "--directory", tmp_path, "--json")
    assert done.returncode == 0, done.stderr
    status = json.loads(done.stdout)
    cells = status["cells"]
    assert len(cells) == 2 * 4 * 6
    assert {cell["state"] for cell in cells} == {"missing"}
    assert all(cell["cause"].startswith("fetch_source") for cell in cells)
    hdpo = next(c for c in cells if (c["language"], c["method"], c["model"]) == ("en", "hdpo", "llama3b"))
    sft = next(c for c in cells if (c["language"], c["method"], c["model"]) == ("en", "sft", "llama3b"))
    assert hdpo["gpu_hours"] > sft["gpu_hours"] > 0
    pages = {(page["name"], page["language"]): page for page in status["pages"]}
    assert {name for name, _ in pages} == {"tables", "detection", "judge", "embeddings"}
    assert pages["tables", "en"]["steps"] > hdpo["steps"]
    assert all(page["cause"].startswith("fetch_") for page in pages.values())
    # Shared steps count once in the sum.
    assert status["gpu_hours"] < sum(cell["gpu_hours"] for cell in cells)


def test_a_mistake_in_the_configuration_is_one_line(root, tmp_path):
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("grid: {models: [lama3b]}\n")
    done = run_status(root, "--configfile", wrong, "--directory", tmp_path)
    assert done.returncode == 2
    assert "llama3b" in done.stderr
    assert "Traceback" not in done.stderr
