"""The text surgery of the published predictions, for `paper` decoding alone (docs/method.md, Decoding).

It shortens answers that are in no way wrong (one that quotes a dialogue, say), and it leaves others empty:
runs that are not compared with the published numbers should not use it.
"""

import re

ROLE_MARKERS = (
    "User", "Assistant", "Human", "System", "Question", "Context", "Answer",
    "Dialogue History", "Current User Message", "Assistant Response",
    "用户", "助手", "系统", "人类", "问题", "上下文", "回答",
)  # fmt: skip
_MARKER = rf"[ \t]*(?:{'|'.join(re.escape(name) for name in ROLE_MARKERS)})[ \t]*[:：]"
_CUT = re.compile(rf"\n{_MARKER}", re.IGNORECASE)
_MARKED_LINE = re.compile(rf"^{_MARKER}.*$\n?", re.IGNORECASE | re.MULTILINE)


def clean_published(text: str) -> str:
    """The text up to the next line that opens with a role marker; a first line that does is dropped."""
    text = text.strip()
    cut = _CUT.search(text)
    if cut is not None:
        text = text[: cut.start()]
    return _MARKED_LINE.sub("", text).strip()
