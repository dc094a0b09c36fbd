"""The lock of a working directory: one holder, and none once the holder is gone."""

import errno
import fcntl
import subprocess
import sys

import pytest

from polyalign.errors import BadInput
from polyalign.run_lock import hold_folder, is_held

HOLDER = "import sys; from pathlib import Path; from polyalign.run_lock import hold_folder; "
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
