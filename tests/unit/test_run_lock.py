"""The lock of a working directory: one holder, and none once the holder is gone."""

import errno
import fcntl
import subprocess
import sys

import pytest

from polyalign.errors import BadInput
from polyalign.files import atomic_directory, atomic_path, write_text
from polyalign.workflow.run_lock import hold_folder, is_held, sweep

HOLDER = "import sys; from pathlib import Path; from polyalign.workflow.run_lock import hold_folder; "
HOLD_AND_WAIT = HOLDER + "hold_folder(Path(sys.argv[1])); print('held', flush=True); sys.stdin.read()"


def test_a_second_process_is_kept_out_until_the_first_is_killed(tmp_path, root):
    assert not is_held(tmp_path)
    command = [sys.executable, "-c", HOLD_AND_WAIT, tmp_path]
    with subprocess.Popen(
        command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(BadInput, match="another workflow is running here; fix: wait"):
            hold_folder(tmp_path)
        assert is_held(tmp_path)
        holder.kill()
        holder.wait()
    assert not is_held(tmp_path)
    assert hold_folder(tmp_path)


def test_a_file_system_without_locks_is_no_obstacle(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOLCK, "no locks")

    monkeypatch.setattr(fcntl, "flock", refuse)
    assert not hold_folder(tmp_path)
    assert not is_held(tmp_path)


def test_what_killed_jobs_were_writing_is_swept_away(tmp_path):
    for name in ("results/a.json", "results/model.d/config.json", "resources/models/x/.cache/1.json"):
        write_text(tmp_path / name, "{}")
    with atomic_path(tmp_path / "results/a.json") as file, atomic_directory(tmp_path / "results/m") as folder:
        write_text(folder / "config.json", "{}")
        file.write_text("{")
        sweep(tmp_path)
        assert not file.exists()
        assert not folder.exists()
        # So that the writers end well.
        file.touch()
        folder.mkdir()
    kept = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert kept == {"results/a.json", "results/model.d/config.json", "resources/models/x/.cache/1.json"}
