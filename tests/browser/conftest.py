"""Debian's Chromium, headless; installed where it is missing and may be, else the tests are skipped with the reason."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")
FONTS = "fonts-noto-cjk"


def find_chromium() -> str | None:
    """Path of a Chromium on PATH."""
    return next(filter(None, map(shutil.which, NAMES)), None)


def install(*packages: str) -> str | None:
    """Install Debian packages; returns why that cannot be, or None."""
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        return "installing it needs root and apt-get"
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update"], ["install", "-y", "--no-install-recommends", *packages]):
        done = subprocess.run(
            ["apt-get", "-q", *command], env=environment, text=True, capture_output=True, check=False
        )
        if done.returncode != 0:
            return f"apt-get {command[0]} failed: {done.stderr.strip().splitlines()[-1:]}"
    return None


def has_chinese_font() -> bool:
    """Whether Chinese screenshots show characters; without fontconfig nobody knows, and nothing is installed."""
    listing = shutil.which("fc-list")
    if listing is None:
        return False
    return bool(subprocess.run([listing, ":lang=zh"], text=True, capture_output=True, check=False).stdout)


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of a Chromium."""
    if find_chromium() is None:
        reason = install("chromium", FONTS)
        if reason or find_chromium() is None:
            pytest.skip(f"no Chromium here: {reason or 'the package brought none'}")
    elif not has_chinese_font():
        install(FONTS)
    return find_chromium()


@pytest.fixture(scope="session")
def browser(chromium: str) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        # Its sandbox needs a user other than root; the pages here are our own.
        options = ["--no-sandbox"] if os.geteuid() == 0 else []
        launched = playwright.chromium.launch(executable_path=chromium, args=options)
        yield launched
        launched.close()


@pytest.fixture
def visit(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Open a file in a fresh profile; at the end, no request went anywhere else and no script failed."""
    contexts, requests, errors = [], [], []

    def opened(path: Path, width: int = 1280, height: int = 860, language: str = "en-GB") -> Page:
        context = browser.new_context(
            viewport={"width": width, "height": height}, locale=language, accept_downloads=True
        )
        contexts.append(context)
        page = context.new_page()
        page.on("request", lambda request: requests.append(request.url))
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        page.goto(path.resolve().as_uri())
        return page

    yield opened
    for context in contexts:
        context.close()
    assert errors == []
    # An export is read through a blob: address, which never leaves the page.
    outside = [url for url in requests if not url.startswith(("file:", "blob:"))]
    assert outside == []


@pytest.fixture(scope="session")
def screenshots(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of pictures for looking at: $SCREENSHOTS, or a temporary one."""
    folder = Path(os.environ.get("SCREENSHOTS") or tmp_path_factory.mktemp("screenshots"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder
