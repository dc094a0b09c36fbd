"""NLTK data: found wherever they lie, fetched where they do not, and never used with another content."""

import functools
import hashlib
import http.server
import threading
import zipfile
from pathlib import Path

import nltk
import pytest

from polyalign import downloads
from polyalign.errors import BadInput, PolyAlignError
from polyalign.features import nltk_data
from polyalign.features.nltk_data import Package, gather_nltk_data, load_packages, read_package, use_folder

FILES = {"corpora/words/english": b"a\nthe\n", "corpora/words/README": b"words\n"}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """NLTK's only folder, empty, with a registry of one package of two files."""
    place = tmp_path / "nltk"
    place.mkdir()
    monkeypatch.setattr(nltk.data, "path", [str(place)])
    monkeypatch.setattr(nltk_data, "load_packages", lambda: {"words": package([])})
    monkeypatch.setattr(downloads, "ATTEMPTS", 1)
    yield place
    use_folder(None)


def package(urls: list[str], files: dict[str, bytes] = FILES) -> Package:
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    return Package(urls=urls or ["http://127.0.0.1:9/none.zip"], files=digests)


def write_plain(folder: Path, files: dict[str, bytes] = FILES) -> None:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def write_zip(path: Path, files: dict[str, bytes] = FILES) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name.split("/", 1)[1], content)


def test_the_registry_names_each_file_by_its_content():
    packages = load_packages()
    assert list(packages) == [
        "punkt_tab",
        "averaged_perceptron_tagger_eng",
        "universal_tagset",
        "stopwords",
        "vader_lexicon",
    ]
    assert all(name.split("/")[1] == key for key, one in packages.items() for name in one.files)


def test_files_are_read_plain_or_from_the_packages_zip(folder):
    write_plain(folder)
    assert read_package("words") == {"english": b"a\nthe\n", "README": b"words\n"}
    (folder / "corpora/words/english").unlink()
    write_zip(folder / "corpora/words.zip")
    assert read_package("words")["english"] == b"a\nthe\n"


def test_a_missing_or_different_file_is_named_with_the_command(folder):
    with pytest.raises(
        PolyAlignError, match=r"corpora/words/english .*not found.*python -m polyalign nltk-data"
    ):
        read_package("words")
    write_plain(folder, FILES | {"corpora/words/README": b"other"})
    with pytest.raises(PolyAlignError, match=r"words/README .*differs from the pinned one \(.*nltk/corpora"):
        read_package("words")
    use_folder(folder / "elsewhere")
    with pytest.raises(PolyAlignError, match=r"elsewhere/corpora/words/english .*--out .*/elsewhere"):
        read_package("words")


def test_another_content_in_one_folder_does_not_hide_the_right_one_in_the_next(folder, monkeypatch):
    second = folder.parent / "second"
    monkeypatch.setattr(nltk.data, "path", [str(folder), str(second)])
    write_plain(folder, dict.fromkeys(FILES, b"other"))
    write_plain(second)
    assert read_package("words")["english"] == b"a\nthe\n"


def test_gathering_copies_what_is_here_and_keeps_other_data(folder, tmp_path):
    write_zip(folder / "corpora/words.zip")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("kept")
    details = gather_nltk_data(tmp_path / "out")
    assert details["packages"]["words"]["obtained"] == "local copy"
    assert (tmp_path / "out/corpora/words/english").read_bytes() == b"a\nthe\n"
    assert (tmp_path / "out" / "mine").read_text() == "kept"


@pytest.mark.parametrize(
    ("files", "problem"),
    [
        ({"corpora/words/english": b"a\nthe\n"}, r"README: the mirror lacks a file.*'words'"),
        (FILES | {"corpora/words/README": b"x"}, r"README: content differs from the pinned one"),
    ],
)
def test_a_mirror_is_taken_whole_or_not_at_all(folder, tmp_path, files, problem):
    write_plain(folder)
    write_plain(tmp_path / "mirror", files)
    with pytest.raises(BadInput, match=problem):
        gather_nltk_data(tmp_path / "out", tmp_path / "mirror")
    assert not (tmp_path / "out").exists()
    with pytest.raises(BadInput, match="no such folder"):
        gather_nltk_data(tmp_path / "out", tmp_path / "nowhere")


@pytest.fixture
def server(tmp_path):
    """Address of a web server of the folder tmp_path/web."""
    (tmp_path / "web").mkdir()
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path / "web"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


def test_downloads_are_checked_and_the_next_address_tried(folder, tmp_path, server, monkeypatch):
    write_zip(tmp_path / "web/newer.zip", dict.fromkeys(FILES, b"newer"))
    write_zip(tmp_path / "web/pinned.zip")
    urls = [f"{server}/{name}.zip" for name in ("gone", "newer", "pinned")]
    monkeypatch.setattr(nltk_data, "load_packages", lambda: {"words": package(urls)})
    details = gather_nltk_data(tmp_path / "out")
    assert details["packages"]["words"]["obtained"] == "download"
    assert (tmp_path / "out/corpora/words/README").read_bytes() == b"words\n"

    monkeypatch.setattr(nltk_data, "load_packages", lambda: {"words": package(urls[:2])})
    with pytest.raises(BadInput, match=r"HTTP 404.*newer.zip has another corpora/words/english.*nltk_mirror"):
        gather_nltk_data(tmp_path / "other")
    assert not (tmp_path / "other").exists()
