"""Pages of one file: style, scripts and data inside, nothing loaded from elsewhere, whatever the data hold.

    render_page(folder, ("app.js",), data, {"title": "Answers"})

The folder has `page.html` with markers {{policy}}, {{style}}, {{data}} and {{scripts}}, `style.css` and the scripts.
They are put into one file, because browsers load no module from a file:// address. A content security policy lets only
these scripts run and lets none of them reach a network.
"""

import base64
import hashlib
import html
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from polyalign.files import dump_json

# "</script>" and "<!--" would end or confuse the element; the other two end a line in old JavaScript.
_ESCAPES = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}


def embed_json(value: Any) -> str:
    """JSON that may stand in a script element, whatever its texts hold."""
    return re.sub("[<>&\u2028\u2029]", lambda match: _ESCAPES[match[0]], dump_json(value))


def source_digest(folder: Path, scripts: Sequence[str]) -> str:
    """Digest of a page's sources."""
    whole = hashlib.sha256()
    for name in ("page.html", "style.css", *scripts):
        whole.update((folder / name).read_bytes())
    return whole.hexdigest()


def _policy_hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def render_page(
    folder: Path, scripts: Sequence[str], data: Any, words: Mapping[str, str] | None = None
) -> str:
    """The whole page as HTML.

    Args:
        folder: of the page's sources.
        scripts: in the order they are run; each defines one name.
        data: what the scripts find in the element `data`, plain JSON values.
        words: texts of further markers; they are escaped.
    """
    style = (folder / "style.css").read_text(encoding="utf-8")
    texts = [(folder / name).read_text(encoding="utf-8") for name in scripts]
    policy = [
        "default-src 'none'",
        f"style-src {_policy_hash(style)}",
        f"script-src {' '.join(map(_policy_hash, texts))}",
        "base-uri 'none'",
        "form-action 'none'",
    ]
    parts = {
        **{name: html.escape(text, quote=True) for name, text in (words or {}).items()},
        "policy": "; ".join(policy),
        "style": f"<style>{style}</style>",
        "data": f'<script type="application/json" id="data">{embed_json(data)}</script>',
        "scripts": "\n".join(f"<script>{text}</script>" for text in texts),
    }
    page = (folder / "page.html").read_text(encoding="utf-8")
    # One pass: a text of the data that looks like a marker stays what it is.
    return re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], page)
