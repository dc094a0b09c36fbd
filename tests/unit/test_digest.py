"""A code digest moves with what code does, near or far, and with nothing else."""

from collections.abc import Callable
from pathlib import Path

import pytest

from polyalign import digest
from polyalign.errors import BadInput

MODULES = {
    "polyalign/__init__.py": '"""The package."""\n',
    "polyalign/near.py": "from polyalign.far import double\n\ndef run(x):\n    return double(x)\n",
    "polyalign/far.py": '"""Far."""\n\ndef double(x):\n    """Twice x."""\n    return 2 * x\n',
    "polyalign/unused.py": "VALUE = 1\n",
    "polyalign/parts/__init__.py": "",
    "polyalign/parts/lazy.py": "def late():\n    import polyalign.parts.deep\n",
    "polyalign/parts/deep.py": "from . import sibling\nfrom ..far import double\n",
    "polyalign/parts/sibling.py": "VALUE = 1\n",
    "script.py": "import json\n\nfrom polyalign import near\n\nprint(near.run(1))\n",
    "lazy_script.py": "from polyalign.parts import lazy\n",
}


@pytest.fixture
def digest_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """A function that writes the modules, changed as told, and returns the digest of a target among them."""
    monkeypatch.setattr(digest, "ROOT", tmp_path)
    monkeypatch.setattr(digest, "PACKAGE", tmp_path / "polyalign")

    def run(target: str = "script.py", **changes: str) -> str:
        for name, text in {**MODULES, **changes}.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
        digest._parse.cache_clear()
        digest.code_digest.cache_clear()
        return digest.code_digest(str(tmp_path / target) if target.endswith(".py") else target)

    return run


def changed(name: str, old: str, new: str) -> dict[str, str]:
    assert old in MODULES[name]
    return {name: MODULES[name].replace(old, new)}


@pytest.mark.parametrize(
    "changes",
    [
        changed("polyalign/far.py", "Twice x.", "Double of x."),
        changed("polyalign/far.py", '"""Far."""\n', ""),
        changed("polyalign/far.py", "return 2 * x", "# why two\n    return (  2*x )"),
        changed("polyalign/near.py", "\n\ndef", "\n\n\n# run it\n\ndef"),
        {"polyalign/far.py": MODULES["polyalign/far.py"] + '"""What stands above."""\n'},
        changed("script.py", "import json\n", "import json  # for later\n"),
        changed("polyalign/unused.py", "1", "2"),
    ],
    ids=[
        "docstring",
        "no docstring",
        "formatting",
        "blank lines",
        "attribute docstring",
        "comment",
        "not imported",
    ],
)
def test_what_does_not_change_behaviour_keeps_the_digest(
    digest_of: Callable[..., str], changes: dict[str, str]
):
    assert digest_of(**changes) == digest_of()


@pytest.mark.parametrize(
    "changes",
    [
        changed("script.py", "run(1)", "run(2)"),
        changed("polyalign/near.py", "double(x)", "-double(x)"),
        changed("polyalign/far.py", "2 * x", "3 * x"),
        changed("polyalign/far.py", "2 * x", "x + x"),
        {"polyalign/__init__.py": "import warnings\n"},
        changed("script.py", "import json", "import json, polyalign.unused"),
    ],
    ids=["script", "import", "import of an import", "same result, other code", "package", "one more import"],
)
def test_code_that_is_reached_changes_the_digest(digest_of: Callable[..., str], changes: dict[str, str]):
    assert digest_of(**changes) != digest_of()


@pytest.mark.parametrize(
    "name", ["polyalign/parts/deep.py", "polyalign/parts/sibling.py", "polyalign/far.py"]
)
def test_imports_in_functions_and_relative_ones_count(digest_of: Callable[..., str], name: str):
    text = MODULES[name] + "ADDED = 1\n"
    assert digest_of("lazy_script.py", **{name: text}) != digest_of("lazy_script.py")


def test_modules_that_import_each_other_end(digest_of: Callable[..., str]):
    circle = {"polyalign/far.py": "from polyalign import near\n\ndef double(x):\n    return 2 * x\n"}
    assert digest_of(**circle) != digest_of()


def test_a_module_has_a_digest_of_its_own(digest_of: Callable[..., str]):
    assert digest_of("polyalign.near") != digest_of("polyalign.far")
    far = changed("polyalign/far.py", "2 * x", "3 * x")
    assert digest_of("polyalign.near", **far) != digest_of("polyalign.near")


@pytest.mark.parametrize("target", ["gone.py", "polyalign.gone", "json"])
def test_code_that_is_not_there_is_named(digest_of: Callable[..., str], target: str):
    with pytest.raises(BadInput, match="no code named"):
        digest_of(target)


def test_this_package_is_followed_into_its_foundation():
    files = digest.code_files(digest.PACKAGE / "job.py")
    assert {"job.py", "polyalign", "polyalign.manifest", "polyalign.files", "polyalign.errors"} <= set(files)
    assert "polyalign.records" not in files


def test_an_environment_digest_moves_with_its_pins_not_with_comments(tmp_path):
    file = tmp_path / "train.yaml"

    def digest_of_text(text: str) -> str:
        file.write_text(text)
        digest.environment_digest.cache_clear()
        return digest.environment_digest(str(file))

    first = digest_of_text("dependencies: [python=3.11, {pip: [torch==2.13.0]}]\n")
    assert first.startswith("train environment ")
    assert digest_of_text("# why\ndependencies:\n- python=3.11\n- pip: [torch==2.13.0]\n") == first
    assert digest_of_text("dependencies: [python=3.11, {pip: [torch==2.14.0]}]\n") != first
