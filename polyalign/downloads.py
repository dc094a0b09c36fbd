"""Downloads that last: retries with waits, resumed transfers, checked content, errors of one line.

Files of hub repositories come through huggingface_hub, other files by address. What has arrived is kept in a
folder beside the target until everything is there, so a download that was killed goes on where it stopped:
with the next file on the hub, in the middle of the file by address. Files come one after another; that no two
jobs download at once is the workflow's business (resource `downloads`).
"""

import hashlib
import http.client
import logging
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, Literal, TypeVar
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from polyalign.errors import BadInput
from polyalign.files import StrPath, sha256_file

log = logging.getLogger(__name__)

ATTEMPTS = 5
"""Tries of one call; the wait before each is twice the wait before the last, or what the server asks for."""
_FIRST_WAIT_S = 2.0
_LONGEST_WAIT_S = 600.0
"""A server that asks for more patience than this ends the download."""
_TIMEOUT_S = 60.0
_BLOCK = 1 << 20
_OFFLINE, _BY_WORKFLOW = "HF_HUB_OFFLINE", "POLYALIGN_OFFLINE"
_TOO_MANY = 429

T = TypeVar("T")


class DamagedDownload(OSError):
    """What arrived is not what the server announced; another try may mend it."""


def allow_downloads() -> None:
    """Let this process reach the hub where it was the workflow, not the user, that switched it off.

    The workflow sets HF_HUB_OFFLINE for all of its jobs, and rules that fetch take it back. To be called before
    huggingface_hub is imported, which reads the variable once.
    """
    if os.environ.pop(_BY_WORKFLOW, None):
        os.environ.pop(_OFFLINE, None)


def download_folder(target: StrPath) -> Path:
    """Where files for `target` gather until all are there; kept when a download fails, for the next try."""
    path = Path(target)
    return path.parent / ".downloads" / path.name


def _status(error: BaseException) -> int | None:
    """HTTP status that an error of huggingface_hub or urllib carries."""
    if isinstance(error, HTTPError):
        return error.code
    return getattr(getattr(error, "response", None), "status_code", None)


def _asked_wait(error: BaseException) -> float | None:
    """Seconds that the server asks to wait, from `Retry-After` as seconds or as a date."""
    headers = error.headers if isinstance(error, HTTPError) else None
    headers = headers or getattr(getattr(error, "response", None), "headers", None) or {}
    value = headers.get("Retry-After")
    if not value:
        return None
    if value.strip().isdigit():
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return None


def _may_pass(error: BaseException) -> bool:
    """Whether trying again can help: the network, a busy server or one that limits requests."""
    status = _status(error)
    return status is None or status >= 500 or status in (408, _TOO_MANY)


def keep_trying(call: Callable[[], T], failures: tuple[type[Exception], ...]) -> T:
    """Call until it succeeds, waiting between tries.

    Args:
        failures: errors after which another try makes sense, unless their HTTP status says it does not.

    Raises:
        The last error, when the tries are used up, it cannot help to wait, or the server asks for too long a wait.
    """
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return call()
        except failures as error:
            cause = _root(error)
            asked = _asked_wait(cause)
            wait = _FIRST_WAIT_S * 2 ** (attempt - 1) if asked is None else asked
            if attempt == ATTEMPTS or not _may_pass(cause) or wait > _LONGEST_WAIT_S or _is_offline(cause):
                raise
            log.warning("%s; trying again in %.0f s (%d of %d)", _brief(cause), wait, attempt + 1, ATTEMPTS)
            time.sleep(wait)
    raise AssertionError("unreachable")


def _root(error: BaseException) -> BaseException:
    """The error behind huggingface_hub's "not found locally", which hides what the server said."""
    from huggingface_hub.errors import LocalEntryNotFoundError

    if isinstance(error, LocalEntryNotFoundError) and error.__cause__ is not None:
        return error.__cause__
    return error


def _is_offline(error: BaseException) -> bool:
    from huggingface_hub.errors import OfflineModeIsEnabled

    return isinstance(error, OfflineModeIsEnabled)


def _brief(error: BaseException) -> str:
    """An error in a few words: the hub's own messages run over several lines."""
    status = _status(error)
    if status is not None:
        url = error.url if isinstance(error, HTTPError) else getattr(error.response, "url", "")
        # A redirect may carry a signature that opens the file to whoever reads the log.
        return f"HTTP {status} from {str(url).split('?')[0]}"
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"


@dataclass(frozen=True)
class HubRepository:
    """One revision of a repository on the hub.

    Attributes:
        label: what the repository holds, for messages, such as `corpus dolly`.
        fix: where its name and revision can be corrected.
        instead: what to do without the hub.
        endpoint: address of the hub, where it is not that of HF_ENDPOINT or the usual one.
    """

    kind: Literal["dataset", "model"]
    repo: str
    revision: str
    label: str
    fix: str
    instead: str
    endpoint: str | None = None

    @property
    def place(self) -> str:
        return f"{self.label} at {self.repo}, revision {self.revision}"

    def resolve(self) -> "HubSnapshot":
        """Ask the hub for the commit that the revision stands for and the files at it.

        Raises:
            BadInput: the repository or revision is not there, access is refused, or the hub cannot be reached.
        """
        from huggingface_hub import HfApi

        def ask() -> Any:
            return HfApi(endpoint=self.endpoint).repo_info(
                self.repo, repo_type=self.kind, revision=self.revision, files_metadata=True
            )

        info = self._call(ask, self.place)
        files = {sibling.rfilename: sibling for sibling in info.siblings or []}
        return HubSnapshot(self, str(info.sha), files)

    def _call(self, call: Callable[[], T], what: str) -> T:
        """Call the hub with retries; an error that stays becomes one line with the fix."""
        from huggingface_hub import errors

        try:
            return keep_trying(call, (OSError, errors.HTTPError))
        except (OSError, errors.HTTPError) as error:
            raise self._explained(_root(error), what) from None

    def _explained(self, error: BaseException, what: str) -> BadInput:
        from huggingface_hub import errors

        status = _status(error)
        log_in = "accept its terms on the hub and log in (`hf auth login`, or the variable HF_TOKEN)"
        if _is_offline(error):
            return BadInput(
                f"{what} cannot be downloaded: HF_HUB_OFFLINE is set",
                fix=f"unset it for this run, or {self.instead}",
            )
        if isinstance(error, errors.GatedRepoError) or status == 403:
            return BadInput(f"access to {what} is refused", fix=f"{log_in}, or {self.instead}")
        if isinstance(error, errors.RepositoryNotFoundError) or status == 401:
            return BadInput(
                f"{what} is not there, or not for you (HTTP {status})",
                fix=f"{self.fix}; if private: {log_in}",
            )
        if status == 404:
            missing = "revision" if isinstance(error, errors.RevisionNotFoundError) else "file"
            return BadInput(f"{what} is not there (no such {missing})", fix=self.fix)
        if status == _TOO_MANY:
            return BadInput(
                f"the hub limits requests: {what} was refused {ATTEMPTS} times or for too long",
                fix="log in (`hf auth login`) for a higher limit, or start again later: what has arrived is kept",
            )
        if isinstance(error, DamagedDownload):
            return BadInput(
                f"{what} arrived damaged: {error}",
                fix=f"start again later; if it stays, check the hub, or {self.instead}",
            )
        return BadInput(
            f"downloading {what} failed ({_brief(error)})",
            fix=f"check the network and start again (what has arrived is kept), or {self.instead}",
        )


@dataclass(frozen=True)
class HubSnapshot:
    """A repository at one commit: its files with what the hub says about them."""

    repository: HubRepository
    commit: str
    files: dict[str, Any]

    def download(self, name: str, folder: StrPath) -> Path:
        """Download one file to `folder/name`, unless it is there already, and check it against the hub's digest.

        Raises:
            BadInput: as `HubRepository.resolve`, or the content stays damaged.
        """
        from huggingface_hub import hf_hub_download

        repository, target = self.repository, Path(folder) / name

        def fetch() -> Path:
            hf_hub_download(
                repository.repo,
                name,
                repo_type=repository.kind,
                revision=self.commit,
                local_dir=folder,
                endpoint=repository.endpoint,
            )
            try:
                _check_announced(target, self.files.get(name))
            except DamagedDownload:
                # Else the next try would find it and take it as it is.
                target.unlink()
                raise
            return target

        return repository._call(fetch, f"{name} of {repository.place}")


def _check_announced(path: Path, announced: Any) -> None:
    """Raise `DamagedDownload` unless a file has the digest that the hub announces, SHA-256 or git's."""
    if announced is None:
        return
    lfs = announced.lfs
    if lfs is not None:
        wanted, found = lfs["sha256"], sha256_file(path)
    elif announced.blob_id is not None:
        wanted, found = announced.blob_id, git_blob_id(path)
    else:
        return
    if wanted != found:
        raise DamagedDownload(f"digest {found}, but the hub announces {wanted}")


def git_blob_id(path: StrPath) -> str:
    """Git's name of a file's content: SHA-1 over a header with its length and the bytes."""
    content = Path(path).read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def fetch_url(url: str, target: StrPath, label: str, *, instead: str) -> None:
    """Download one file by address, unless it is there already; a partial one beside it is gone on with.

    Args:
        target: where the whole file goes; the partial one is `{target}.part`.
        label: what the file belongs to, for messages.
        instead: what to do without the network.

    Raises:
        BadInput: the server refuses or keeps failing.
    """
    path = Path(target)
    if path.is_file():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        keep_trying(lambda: _transfer(url, path), (OSError, http.client.HTTPException))
    except (OSError, http.client.HTTPException) as error:
        cause = _brief(error)
        gone = _status(error) in (401, 403, 404, 410)
        raise BadInput(
            f"downloading {url} of {label} failed ({cause})",
            fix="correct its entry in config/sources.yaml"
            if gone
            else f"check the network and start again (what has arrived is kept), or {instead}",
        ) from None


def _transfer(url: str, path: Path) -> None:
    """One try: the rest of the partial file where the server still has the same one, else all of it."""
    part, tag_file = path.with_name(f"{path.name}.part"), path.with_name(f"{path.name}.part.etag")
    have = part.stat().st_size if part.is_file() and tag_file.is_file() else 0
    headers = {"Accept-Encoding": "identity", "User-Agent": "polyalign"}
    if have:
        # If the file changed meanwhile, the server sends it whole.
        headers |= {"Range": f"bytes={have}-", "If-Range": tag_file.read_text(encoding="utf-8")}
    try:
        with urlopen(Request(url, headers=headers), timeout=_TIMEOUT_S) as response:
            resumed = response.status == http.HTTPStatus.PARTIAL_CONTENT
            start = have if resumed else 0
            tag = response.headers.get("ETag")
            if not resumed:
                tag_file.unlink(missing_ok=True)
                # A weak tag does not promise the same bytes.
                if tag and not tag.startswith("W/"):
                    tag_file.write_text(tag, encoding="utf-8")
            announced = response.headers.get("Content-Length")
            with open(part, "ab" if resumed else "wb") as handle:
                shutil.copyfileobj(response, handle, _BLOCK)
    except HTTPError as error:
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            part.unlink(missing_ok=True)
            raise DamagedDownload("the partial file is longer than the whole") from None
        raise
    size = part.stat().st_size
    if announced is not None and size != start + int(announced):
        raise DamagedDownload(f"{size:,} of {start + int(announced):,} bytes arrived")
    os.replace(part, path)
    tag_file.unlink(missing_ok=True)
