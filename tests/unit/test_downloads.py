"""Downloads from a hub that goes wrong: the hub is a local server, its client the real huggingface_hub."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hub_server import COMMIT, FakeHub, Fault, in_seconds, serving

from polyalign import downloads
from polyalign.data.registry import SourcePlace
from polyalign.data.sources import list_files
from polyalign.downloads import allow_downloads, download_folder, fetch_url, git_blob_id
from polyalign.errors import BadInput

BIG = b"0123456789" * 30_000
ROOT = Path(downloads.__file__).parent.parent


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    files = {"data/train.parquet": BIG, "all.jsonl": b"{}\n", "README.md": b"# card"}
    with serving(FakeHub(files=files, lfs={"data/train.parquet"})) as server:
        yield server


def place(by_address: FakeHub | None = None, /, **changes: object) -> SourcePlace:
    values = {
        "language": "en",
        "licence": "CC0",
        "citation": "nobody",
        "files": [{"path": "train.parquet", "remote": "data/train.parquet"}, {"path": "all.jsonl"}],
    }
    origin = (
        {"base_url": f"{by_address.address}/plain/"}
        if by_address
        else {"hub": {"repo": "some/corpus", "revision": "v1"}}
    )
    return SourcePlace.model_validate({**values, **origin, **changes})


@dataclass(frozen=True)
class Outcome:
    """What a fetch in a process of its own gave: manifest details, or the one line of its error."""

    details: dict | None
    line: str


def fetch(out: Path, hub: FakeHub, spec: SourcePlace | None = None, **environment: str) -> Outcome:
    """Fetch in a process of its own: the hub's client reads its variables when it is imported."""
    code = (
        "import json, sys\n"
        "from polyalign import downloads\n"
        "downloads._FIRST_WAIT_S = 0.01\n"
        "from polyalign.errors import BadInput\n"
        "from polyalign.data.registry import SourcePlace\n"
        "from polyalign.data.sources import fetch_source\n"
        "spec = SourcePlace.model_validate_json(sys.argv[1])\n"
        "try:\n"
        "    print(json.dumps(fetch_source('dolly', sys.argv[2], entry=spec)))\n"
        "except BadInput as error:\n"
        "    print('BAD INPUT', error, file=sys.stderr)\n"
        "    sys.exit(2)\n"
    )
    ours = {
        **{name: value for name, value in os.environ.items() if name != "HF_TOKEN"},
        "HF_ENDPOINT": hub.address,
        "HF_HUB_OFFLINE": "0",
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HOME": f"{out}.home",
        "PYTHONPATH": str(ROOT),
    }
    done = subprocess.run(
        [sys.executable, "-c", code, (spec or place()).model_dump_json(exclude_none=True), str(out)],
        env={**ours, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    assert done.returncode in (0, 2), done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("BAD INPUT ")]
    assert len(lines) == (done.returncode == 2)
    return Outcome(
        json.loads(done.stdout) if done.returncode == 0 else None,
        lines[0].removeprefix("BAD INPUT ") if lines else "",
    )


def test_files_of_a_revision_with_their_digests_and_the_commit(tmp_path: Path, hub: FakeHub) -> None:
    found = fetch(tmp_path / "raw", hub).details
    assert found["commit"] == COMMIT
    assert found["revision"] == "v1"
    assert found["files"] == {
        "all.jsonl": {"sha256": hashlib.sha256(b"{}\n").hexdigest(), "bytes": 3},
        "train.parquet": {"sha256": hashlib.sha256(BIG).hexdigest(), "bytes": len(BIG)},
    }
    assert list_files(tmp_path / "raw") == found["files"]
    assert [path.name for path in (tmp_path / ".downloads").iterdir()] == []
    assert hub.most_at_once == 1
    assert not hub.gets("README")


@pytest.mark.parametrize(
    "faults",
    [
        [Fault("/api/datasets", 429, retry_after="0"), Fault("/api/datasets", 500)],
        [Fault("train.parquet", 500, method="HEAD", times=2), Fault("all.jsonl", 503)],
        [
            Fault("train.parquet", 429, retry_after="0"),
            Fault("all.jsonl", 429, method="HEAD", retry_after="0"),
        ],
        [Fault("/api/datasets", "hang up"), Fault("train.parquet", "hang up", method="HEAD")],
        [Fault("train.parquet", "spoil"), Fault("all.jsonl", "spoil", times=2)],
    ],
    ids=["api", "server errors", "rate limits", "hang up", "damaged"],
)
def test_what_passes_is_tried_again(tmp_path: Path, hub: FakeHub, faults: list[Fault]) -> None:
    hub.faults = faults
    found = fetch(tmp_path / "raw", hub)
    assert found.details is not None, found.line
    assert found.details["files"]["train.parquet"]["sha256"] == hashlib.sha256(BIG).hexdigest()
    assert all(fault.times == 0 for fault in faults)


def test_a_cut_transfer_goes_on_where_it_stopped(tmp_path: Path, hub: FakeHub) -> None:
    chunk = 10 << 20  # what the client takes at a time
    content = os.urandom(2 * chunk + 4)
    hub.files["data/train.parquet"] = content
    hub.faults = [Fault("train.parquet", "cut")]
    found = fetch(tmp_path / "raw", hub)
    assert found.details is not None, found.line
    assert hub.gets("train.parquet") == [None, f"bytes={chunk}-"]
    assert found.details["files"]["train.parquet"]["sha256"] == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize(
    "fault, parts",
    [
        (Fault("/api/", 429, 9, retry_after="86400"), ["limits requests", "hf auth login"]),
        (
            Fault("/api/", 500, 99),
            ["corpus dolly at some/corpus, revision v1 failed (HTTP 500", "sources.mirror"],
        ),
        (Fault("all.jsonl", 500, 99), ["all.jsonl of corpus dolly", "HTTP 500", "what has arrived is kept"]),
        (Fault("all.jsonl", "hang up", 99, "HEAD"), ["all.jsonl of corpus dolly", "failed (", "network"]),
        (
            Fault("all.jsonl", "spoil", 99),
            ["all.jsonl of corpus dolly", "arrived damaged", "the hub announces"],
        ),
        (
            Fault("/api/", 401, 9, code="GatedRepo"),
            ["access to corpus dolly", "refused", "HF_TOKEN", "mirror"],
        ),
        (Fault("all.jsonl", 401, 9, "HEAD", code="GatedRepo"), ["access to all.jsonl", "hf auth login"]),
        (Fault("/api/", 403, 9), ["access to corpus dolly", "refused"]),
        (Fault("/api/", 401, 9), ["not there, or not for you", "config/sources.yaml", "HF_TOKEN"]),
        (Fault("all.jsonl", 404, 9, "HEAD", code="EntryNotFound"), ["no such file", "config/sources.yaml"]),
    ],
    ids=lambda value: f"{value.kind} {value.path}" if isinstance(value, Fault) else "",
)
def test_what_stays_is_one_line_with_the_fix(
    tmp_path: Path, hub: FakeHub, fault: Fault, parts: list[str]
) -> None:
    hub.faults = [fault]
    out = tmp_path / "raw"
    out.mkdir()
    (out / "earlier").touch()
    found = fetch(out, hub)
    assert found.details is None
    for part in [*parts, "fix: "]:
        assert part in found.line, found.line
    # What was there stays, and nothing that is half there is beside it.
    assert [path.name for path in out.iterdir()] == ["earlier"]


@pytest.mark.parametrize(
    "changes, part",
    [
        ({"hub": {"repo": "some/corpus", "revision": "v2"}}, "revision v2 is not there (no such revision)"),
        (
            {"hub": {"repo": "some/other", "revision": "v1"}},
            "corpus dolly at some/other, revision v1 is not there",
        ),
        ({"files": [{"path": "gone.jsonl"}]}, "no file of dolly named gone.jsonl"),
        (
            {"files": [{"path": "all.jsonl", "sha256": "0" * 64}]},
            "all.jsonl: content differs from the registry",
        ),
    ],
)
def test_mistakes_of_the_registry_are_told_at_once(
    tmp_path: Path, hub: FakeHub, changes: dict, part: str
) -> None:
    found = fetch(tmp_path / "raw", hub, place(**changes))
    assert part in found.line
    assert "config/sources.yaml" in found.line
    assert len([path for _, path, _ in hub.requests if path.startswith("/api/datasets")]) == 1
    assert not (tmp_path / "raw").exists()


def test_a_later_start_keeps_the_files_that_arrived(tmp_path: Path, hub: FakeHub) -> None:
    hub.faults = [Fault("all.jsonl", 500, 99)]
    assert fetch(tmp_path / "raw", hub).details is None
    assert (download_folder(tmp_path / "raw") / "data/train.parquet").read_bytes() == BIG
    hub.faults.clear()
    hub.requests.clear()
    assert fetch(tmp_path / "raw", hub).details is not None
    assert hub.gets("train.parquet") == []
    assert len(hub.gets("all.jsonl")) == 1
    assert not download_folder(tmp_path / "raw").exists()


def test_no_hub_at_all_and_offline(tmp_path: Path, hub: FakeHub) -> None:
    nowhere = FakeHub(address="http://127.0.0.1:9")
    assert "failed (ConnectError" in fetch(tmp_path / "raw", nowhere).line
    offline = fetch(tmp_path / "raw", hub, HF_HUB_OFFLINE="1")
    assert "HF_HUB_OFFLINE is set; fix: unset it" in offline.line
    assert hub.requests == []


def test_only_what_the_workflow_switched_off_is_switched_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.delenv("POLYALIGN_OFFLINE", raising=False)
    allow_downloads()
    assert os.environ["HF_HUB_OFFLINE"] == "1"
    monkeypatch.setenv("POLYALIGN_OFFLINE", "1")
    allow_downloads()
    assert "HF_HUB_OFFLINE" not in os.environ


class TestByAddress:
    """Files that are not on the hub."""

    @pytest.fixture(autouse=True)
    def _quick(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(downloads, "_FIRST_WAIT_S", 0.01)

    def get(self, hub: FakeHub, target: Path, name: str = "data/train.parquet") -> None:
        fetch_url(f"{hub.address}/plain/{name}", target, "corpus dolly", instead="set sources.mirror")

    @pytest.mark.parametrize(
        "faults",
        [
            [Fault("train", 503), Fault("train", 500)],
            [Fault("train", 429, retry_after="0"), Fault("train", 429, retry_after=in_seconds(-1))],
            [Fault("train", "hang up")],
        ],
    )
    def test_what_passes_is_tried_again(self, tmp_path: Path, hub: FakeHub, faults: list[Fault]) -> None:
        hub.faults = faults
        self.get(hub, tmp_path / "train")
        assert (tmp_path / "train").read_bytes() == BIG
        assert all(fault.times == 0 for fault in faults)
        assert [path.name for path in tmp_path.iterdir()] == ["train"]

    def test_a_cut_transfer_goes_on_where_it_stopped(self, tmp_path: Path, hub: FakeHub) -> None:
        hub.faults = [Fault("train", "cut")]
        self.get(hub, tmp_path / "train")
        assert hub.gets("train") == [None, f"bytes={len(BIG) // 2}-"]
        assert (tmp_path / "train").read_bytes() == BIG

    def test_a_later_start_goes_on_too_unless_the_file_changed(
        self, tmp_path: Path, hub: FakeHub, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(downloads, "ATTEMPTS", 1)
        half = f"bytes={len(BIG) // 2}-"
        for change, expected in [(b"", BIG), (b"other" * 1000, b"other" * 1000)]:
            hub.files["data/train.parquet"] = BIG
            hub.faults, target = [Fault("train", "cut")], tmp_path / f"train{len(change)}"
            with pytest.raises(BadInput, match=r"150,000 of 300,000 bytes arrived.*what has arrived is kept"):
                self.get(hub, target)
            assert not target.exists()
            hub.files["data/train.parquet"] = expected
            hub.requests.clear()
            self.get(hub, target)
            assert target.read_bytes() == expected
            assert hub.gets("train") == [half]

    def test_a_partial_file_longer_than_the_whole_is_dropped(self, tmp_path: Path, hub: FakeHub) -> None:
        (tmp_path / "train.part").write_bytes(BIG + b"more")
        (tmp_path / "train.part.etag").write_text("x")
        hub.faults = [Fault("train", 416)]
        self.get(hub, tmp_path / "train")
        assert (tmp_path / "train").read_bytes() == BIG

    @pytest.mark.parametrize(
        "fault, parts",
        [
            (Fault("train", 404, 9), ["HTTP 404", "fix: correct its entry in config/sources.yaml"]),
            (Fault("train", 500, 99), ["HTTP 500", "sources.mirror"]),
            (Fault("train", 429, 1, retry_after="86400"), ["HTTP 429", "start again"]),
        ],
    )
    def test_what_stays_is_one_line(
        self, tmp_path: Path, hub: FakeHub, fault: Fault, parts: list[str]
    ) -> None:
        hub.faults = [fault]
        with pytest.raises(BadInput) as error:
            self.get(hub, tmp_path / "train")
        for part in ["train.parquet of corpus dolly failed", *parts]:
            assert part in str(error.value)

    def test_a_corpus_is_checked_against_the_registry(self, tmp_path: Path, hub: FakeHub) -> None:
        details = fetch(tmp_path / "raw", hub, place(hub)).details
        assert list(details["files"]) == ["all.jsonl", "train.parquet"]
        assert "commit" not in details
        wrong = place(hub, files=[{"path": "all.jsonl", "sha256": "0" * 64}])
        for _ in range(2):
            # The second start asks again: what arrived the first time is not taken for good.
            assert "content differs from the registry" in fetch(tmp_path / "raw", hub, wrong).line
        assert len(hub.gets("all.jsonl")) == 3
        assert list(list_files(tmp_path / "raw")) == ["all.jsonl", "train.parquet"]


def test_git_names_of_contents(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"hello\n")
    assert git_blob_id(tmp_path / "a") == "ce013625030ba8dba906f756967f9e9ca394464a"
