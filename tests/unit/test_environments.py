"""A stage's own environment: its interpreter runs the script, and only its packages are found there."""

import os
import subprocess
import sys
import venv

import pytest

from polyalign.environments import packages_digest, python_of
from polyalign.errors import BadInput

SCRIPT = """
import sys
sys.path.extend({paths!r})
from types import SimpleNamespace
from polyalign.environments import announce
import os
if "POLYALIGN_ENVIRONMENTS" not in os.environ:
    announce({environments!r}, {{'answer': 'envs/infer-cpu.yaml', 'train': 'envs/train.yaml', 'fit': None}})
from polyalign.job import run_job

def main(job):
    import json
    try:
        import torch
    except ImportError as error:
        torch = None
    print(json.dumps([sys.prefix, torch is not None]))

class Files(dict):
    pass

run_job(SimpleNamespace(rule="answer", log=[], output=Files(), params=Files()), main)
"""


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    folder = tmp_path_factory.mktemp("environments") / ".venv-infer"
    venv.create(folder, with_pip=False, symlinks=True)
    return folder


def run_script(tmp_path, root, environments):
    own = next(path for path in sys.path if path.endswith("site-packages"))
    script = tmp_path / "script.py"
    # As Snakemake does: its own packages come last on the search path.
    script.write_text(SCRIPT.format(paths=[own], environments=environments))
    return subprocess.run(
        [sys.executable, script],
        env={**os.environ, "PYTHONPATH": str(root)},
        text=True,
        capture_output=True,
        check=False,
    )


def test_the_script_goes_on_in_the_environment_of_its_rule(environment, tmp_path, root):
    done = run_script(tmp_path, root, {"infer": str(environment)})
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == f'["{environment}", false]'


def test_other_rules_stay_where_they_are(environment, tmp_path, root):
    done = run_script(tmp_path, root, {"train": str(environment)})
    assert done.stdout.strip() == f'["{sys.prefix}", true]'


def test_an_environment_that_is_gone_ends_in_one_line(tmp_path, root):
    done = run_script(tmp_path, root, {"infer": str(tmp_path / "gone")})
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("answer: ")
    assert "no Python environment here" in line


def test_the_digest_of_packages_changes_with_them(environment, tmp_path):
    before = packages_digest(environment)
    folder = next(environment.glob("lib/python*/site-packages")) / "some_package-1.2.dist-info"
    folder.mkdir()
    with_package = packages_digest(environment)
    folder.rename(folder.with_name("some_package-1.3.dist-info"))
    assert len({before, with_package, packages_digest(environment)}) == 3
    with pytest.raises(BadInput, match="no Python environment here"):
        python_of(tmp_path)


def test_a_worker_process_that_imports_the_script_does_not_run_the_job(tmp_path, root):
    """Libraries start workers by `spawn`, which imports the main module again."""
    script = tmp_path / "script.py"
    script.write_text(
        "import multiprocessing\n"
        "from types import SimpleNamespace\n"
        "from polyalign.job import run_job\n"
        "def main(job):\n"
        "    print('ran', flush=True)\n"
        "    process = multiprocessing.get_context('spawn').Process(target=print, args=('worked',))\n"
        "    process.start()\n"
        "    process.join()\n"
        "run_job(SimpleNamespace(rule='answer', log=[], output={}, params={}), main)\n"
    )
    done = subprocess.run(
        [sys.executable, script],
        env={**os.environ, "PYTHONPATH": str(root)},
        text=True,
        capture_output=True,
        check=False,
    )
    assert done.stdout.split() == ["ran", "worked"], done.stderr
