"""Character, punctuation and layout features."""

import re
from collections.abc import Sequence

import numpy as np

# Each class of characters is one bit of a character's mask.
_MEMBERS = {
    "question_mark_count": "?？",
    "exclamation_mark_count": "!！",
    "comma_count": ",，",
    "semicolon_count": ";；",
    "colon_count": ":：",
    "period_count": ".。",
    "quote_count": '"“”‘’「」『』',
    "apostrophe_count": "'",
    "hyphen_count": "-–—－",
    "slash_count": "/",
    "parenthesis_count": "()（）",
    "bracket_count": "[]{}【】",
    "inline_code_marker_count": "`",
    "newline_count": "\n",
    "spaces": " \n",
}
_PUNCTUATION = re.compile(r"[^\w\s]")
_TESTS = {
    "whitespace_count": str.isspace,
    "punctuation_count": lambda character: _PUNCTUATION.match(character) is not None,
    "digit_char_count": str.isdigit,
    "alphabetic_char_count": str.isalpha,
    "uppercase_char_count": str.isupper,
    "lowercase_char_count": str.islower,
    "non_ascii_char_count": lambda character: ord(character) > 127,
}
_CLASSES = (*_MEMBERS, *_TESTS)
_CODE_POINTS = 0x110000
_KNOWN = 1 << len(_CLASSES)

_YEAR = re.compile(r"\b(?:1[5-9]\d{2}|20\d{2}|2100)\b")
_ORDINAL = re.compile(r"\b\d+(?:st|nd|rd|th)\b", re.IGNORECASE)
_URL = re.compile(r"https?://\S+|www\.\S+", re.IGNORECASE)
_EMAIL = re.compile(r"\b[\w.+-]+@[\w-]+\.[\w.-]+\b")
_ELLIPSIS = re.compile(r"\.\.\.|…")
_BULLET = re.compile(r"^\s*[-*•]\s+", re.MULTILINE)
_ENUMERATION = re.compile(r"^\s*(?:\d+|[A-Za-z])[.)]\s+", re.MULTILINE)
_MAYBE_LIST = re.compile(r"(?:^|\n)\s*(?:[-*•]|(?:\d+|[A-Za-z])[.)])\s")

_masks = np.zeros(_CODE_POINTS, dtype=np.int64)


def _mask(code: int) -> int:
    character = chr(code)
    mask = _KNOWN
    for bit, name in enumerate(_CLASSES):
        inside = character in _MEMBERS[name] if name in _MEMBERS else _TESTS[name](character)
        mask |= int(inside) << bit
    return mask


def _class_masks(codes: np.ndarray) -> np.ndarray:
    """[characters] the class bits of each code point; a code point met for the first time is looked up then."""
    masks = _masks[codes]
    for code in np.unique(codes[masks == 0]):
        _masks[code] = _mask(int(code))
    return _masks[codes]


def _runs_of_three(codes: np.ndarray, owner: np.ndarray) -> np.ndarray:
    """[runs] the texts of the runs of at least three equal characters other than newlines, one entry a run."""
    equal = np.zeros(len(codes) + 1, dtype=bool)
    equal[1:-1] = (codes[1:] == codes[:-1]) & (owner[1:] == owner[:-1]) & (codes[1:] != ord("\n"))
    starts = np.flatnonzero(~equal[:-1] & equal[1:])
    stops = np.flatnonzero(equal[:-1] & ~equal[1:])
    return owner[starts[stops - starts >= 2]]


def _count(pattern: re.Pattern[str], texts: Sequence[str], possible: Sequence[bool]) -> np.ndarray:
    """Matches of `pattern` in each text, looked for only where it is possible."""
    return np.array(
        [len(pattern.findall(text)) if maybe else 0 for text, maybe in zip(texts, possible, strict=True)],
        dtype=np.float64,
    )


def measure_characters(texts: Sequence[str]) -> dict[str, np.ndarray]:
    """Counts over characters and lines of normalized texts, each [texts].

    Besides features of docs/features.md, groups characters, punctuation, forms and layout.
    """
    lengths = np.array([len(text) for text in texts], dtype=np.int64)
    codes = np.frombuffer("".join(texts).encode("utf-32-le", "surrogatepass"), dtype=np.uint32).astype(
        np.int64
    )
    owner = np.repeat(np.arange(len(texts)), lengths)
    masks = _class_masks(codes)
    columns = {
        name: np.bincount(owner[(masks >> bit) & 1 == 1], minlength=len(texts)).astype(np.float64)
        for bit, name in enumerate(_CLASSES)
    }
    columns["char_count"] = lengths.astype(np.float64)
    columns["char_no_space_count"] = lengths - columns.pop("spaces")
    columns["paragraph_count"] = np.array([float(text.count("\n\n") + (text != "")) for text in texts])
    digits = columns["digit_char_count"] > 0
    lists = [_MAYBE_LIST.search(text) is not None for text in texts]
    columns["year_token_count"] = _count(_YEAR, texts, digits)
    columns["ordinal_token_count"] = _count(_ORDINAL, texts, digits)
    columns["url_count"] = _count(_URL, texts, ["://" in text or "ww." in text.lower() for text in texts])
    columns["email_count"] = _count(_EMAIL, texts, ["@" in text for text in texts])
    columns["ellipsis_count"] = _count(_ELLIPSIS, texts, ["..." in text or "…" in text for text in texts])
    columns["bullet_line_count"] = _count(_BULLET, texts, lists)
    columns["enumerated_line_count"] = _count(_ENUMERATION, texts, lists)
    columns["code_fence_count"] = np.array([float(text.count("```")) for text in texts])
    repeats = _runs_of_three(codes, owner)
    columns["repeated_char_sequence_count"] = np.bincount(repeats, minlength=len(texts)).astype(np.float64)
    return columns
