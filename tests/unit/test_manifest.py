"""A manifest says what a result was made from, and shows when that is no longer true."""

import json
from pathlib import Path

import pytest

from polyalign.errors import BadInput
from polyalign.files import sha256_file
from polyalign.manifest import check_files, package_versions, read_manifest, write_manifest


@pytest.fixture
def artifact(tmp_path: Path) -> tuple[Path, Path]:
    """(manifest, output) of one made-up step."""
    source, output, manifest = tmp_path / "in.txt", tmp_path / "out.txt", tmp_path / "manifest.json"
    source.write_text("in")
    output.write_text("out")
    write_manifest(
        manifest,
        step="merge_splits",
        inputs=[source],
        outputs=[output],
        params={"seed": 42},
        code="0123456789abcdef",
        details={"rows": 3},
    )
    return manifest, output


def test_what_was_written_is_read(artifact: tuple[Path, Path]):
    path, output = artifact
    manifest = read_manifest(path)
    assert manifest["step"] == "merge_splits"
    assert manifest["params"] == {"seed": 42}
    assert manifest["details"] == {"rows": 3}
    assert manifest["code"] == "0123456789abcdef"
    assert manifest["outputs"] == {str(output): sha256_file(output)}
    assert list(manifest["inputs"].values()) == [sha256_file(path.parent / "in.txt")]
    check_files(manifest, file=path)


def test_the_same_step_gives_the_same_bytes(artifact: tuple[Path, Path]):
    path, output = artifact
    before = path.read_bytes()
    write_manifest(
        path,
        step="merge_splits",
        inputs=[path.parent / "in.txt"],
        outputs=[output],
        params={"seed": 42},
        code="0123456789abcdef",
        details={"rows": 3},
    )
    assert path.read_bytes() == before


@pytest.mark.parametrize("content", ["", "out.", "OUT"])
def test_an_output_that_was_touched_is_named(artifact: tuple[Path, Path], content: str):
    path, output = artifact
    output.write_text(content)
    with pytest.raises(
        BadInput, match=r"out\.txt: content differs from its manifest; expected sha256 [0-9a-f]{64}"
    ):
        check_files(read_manifest(path), file=path)


def test_an_output_that_is_gone_is_named(artifact: tuple[Path, Path]):
    path, output = artifact
    output.unlink()
    with pytest.raises(BadInput, match=r"out\.txt: listed file is missing; fix: delete .*manifest\.json"):
        check_files(read_manifest(path), file=path)


def test_a_digest_changed_in_the_manifest_is_told(artifact: tuple[Path, Path]):
    path, output = artifact
    text = path.read_text()
    path.write_text(text.replace(sha256_file(output), "0" * 64))
    with pytest.raises(BadInput, match="content differs from its manifest"):
        check_files(read_manifest(path), file=path)


@pytest.mark.parametrize(
    "text", ["[]", "{}", '{"schema_version": 99, "outputs": {}}', '{"schema_version": 1}', "null"]
)
def test_what_is_no_manifest_is_refused(tmp_path: Path, text: str):
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(
        BadInput, match=r"manifest\.json, field 'schema_version': not a manifest of this version"
    ):
        read_manifest(tmp_path / "manifest.json")


def test_an_empty_flag_is_no_manifest(tmp_path: Path):
    (tmp_path / "manifest.json").touch()
    with pytest.raises(BadInput, match="not valid JSON"):
        read_manifest(tmp_path / "manifest.json")


def test_details_that_are_no_json_leave_the_old_manifest(artifact: tuple[Path, Path]):
    path, _ = artifact
    before = path.read_bytes()
    with pytest.raises(ValueError, match="JSON compliant"):
        write_manifest(path, step="merge_splits", details={"loss": float("nan")})
    assert path.read_bytes() == before
    assert {file.name for file in path.parent.iterdir()} == {"in.txt", "out.txt", "manifest.json"}


def test_nothing_is_told_that_differs_between_equal_runs(artifact: tuple[Path, Path]):
    manifest = json.loads(artifact[0].read_text())
    assert set(manifest) == {
        "schema_version",
        "step",
        "inputs",
        "outputs",
        "params",
        "code",
        "versions",
        "details",
    }
    assert {"python", "polyalign", "pyarrow"} <= set(package_versions())
