"""Work over processes and without the garbage collector: order, errors, and nothing left switched off."""

import gc
import os
import platform
import subprocess
import sys

import pytest

from polyalign.errors import BadInput
from polyalign.throughput import collector_paused, one_ahead, over_processes, over_threads, usable_cores


def _square(number: int) -> tuple[int, int]:
    if number < 0:
        raise BadInput("negative", file="numbers", row=-number)
    return number * number, os.getpid()


@pytest.mark.parametrize("processes", [1, 2])
def test_results_come_in_the_order_of_the_tasks(processes):
    results = list(over_processes(_square, range(20), processes))
    assert [square for square, _ in results] == [n * n for n in range(20)]
    assert (os.getpid() in {pid for _, pid in results}) == (processes == 1)


@pytest.mark.parametrize("processes", [1, 2])
def test_the_error_of_a_worker_keeps_its_line(processes):
    with pytest.raises(BadInput, match="numbers, row 3: negative"):
        list(over_processes(_square, [1, 2, -3, 4, -5], processes))


@pytest.mark.parametrize("threads", [1, 3])
def test_threads_keep_order_and_take_tasks_as_they_go(threads):
    taken = []

    def tasks():
        for number in range(20):
            taken.append(number)
            yield number

    for count, (square, _) in enumerate(over_threads(_square, tasks(), threads)):
        assert square == count * count
        assert len(taken) <= count + 1 + threads
    with pytest.raises(BadInput, match="numbers, row 3: negative"):
        list(over_threads(_square, [1, 2, -3, 4, -5], threads))


def test_the_collector_is_back_after_an_error():
    def fail() -> None:
        with collector_paused():
            assert not gc.isenabled()
            with collector_paused():
                pass
            assert not gc.isenabled()
            raise KeyError

    assert gc.isenabled()
    with pytest.raises(KeyError):
        fail()
    assert gc.isenabled()


def test_there_is_a_core():
    assert 1 <= usable_cores() <= os.cpu_count()


def test_one_ahead_keeps_order_and_works_ahead():
    made = []

    def items():
        for number in range(5):
            made.append(number)
            yield number

    seen = []
    for number in one_ahead(items()):
        seen.append(number)
        if number == 4:
            assert made == [0, 1, 2, 3, 4]
    assert seen == [0, 1, 2, 3, 4]
    assert list(one_ahead([])) == []


def test_one_ahead_passes_the_error_on_in_its_place():
    def items():
        yield 1
        raise BadInput("broken", file="rows", row=2)

    found = one_ahead(items())
    assert next(found) == 1
    with pytest.raises(BadInput, match="rows, row 2: broken"):
        next(found)


FAULTS = """
import resource
import sys
from polyalign.throughput import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(50):
    blocks = [b"1" * (8 << 20) for _ in range(4)]
    del blocks
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
def test_freed_memory_is_not_given_back_page_by_page():
    kept, given_back = (
        int(
            subprocess.run(
                [sys.executable, "-c", FAULTS, how], capture_output=True, text=True, check=True
            ).stdout
        )
        for how in ("keep", "give")
    )
    # 32 MiB in pages of 4 KiB, once instead of fifty times.
    assert kept < 20_000 < 300_000 < given_back
