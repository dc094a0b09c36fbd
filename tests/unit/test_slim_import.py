"""What is left out of a process, and that whoever needs it after all still gets it."""

import subprocess
import sys

LOADED = "print([name for name in ('pandas', 'sklearn', 'scipy.stats') if name in sys.modules])"


def run(*lines: str) -> list[str]:
    """Lines that a new process prints."""
    code = "; ".join(("import sys", "import pyarrow as pa", "from polyalign.slim_import import *", *lines))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def test_arrays_are_made_without_pandas_and_it_is_there_where_asked_for():
    used = "pa.table({'a': [1, None], 'b': pa.array(['x', 'y'])}).to_pylist()"
    assert run("spare_pandas()", used, LOADED, "print(pa.array([1]).to_pandas().sum())", LOADED) == [
        "[]",
        "1",
        "['pandas']",
    ]


def test_pandas_that_is_loaded_stays_known():
    same = "print(pa.array(pandas.Series([1.0, float('nan')])).null_count)"
    assert run("import pandas", "spare_pandas()", same) == ["1"]


def test_nltk_comes_without_what_it_does_not_need_and_both_work_later():
    assert run(
        "print(slim_import('nltk.tokenize').NLTKWordTokenizer().tokenize('Two words.'))",
        LOADED,
        "import scipy.stats, sklearn",
        "print(sklearn.__name__)",
    ) == ["['Two', 'words', '.']", "[]", "sklearn"]
