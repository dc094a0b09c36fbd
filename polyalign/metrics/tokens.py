"""Answer tokens as integers, made in bulk: what utility, diversity and turn dynamics count.

Two rules: `paper` (docs/method.md, Metrics, normalize_answer) and `char` (Metrics beyond the paper), where a CJK
character is a token of its own. Of ASCII text both give the same tokens.
"""

import string
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from polyalign.records import CJK

RULES = ("paper", "char")
ARTICLES = ("a", "an", "the")

_PUNCTUATION = "[" + "".join("\\" + mark for mark in string.punctuation) + "]+"
# What str.split() parts words at, beyond the ASCII whitespace that Arrow's ascii_split_whitespace knows. Arrow's
# utf8_split_whitespace would know all, but reads beyond the end of its buffer and then finds words that are not there.
_OTHER_SPACE = (
    "\x1c\x1d\x1e\x1f\x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000"
)
_CJK_CHARACTER = f"([{CJK}])"
# Typographic apostrophes vanish as the ASCII one does, other marks part words.
_APOSTROPHES = "[‘’＇]+"
_TYPOGRAPHIC = (
    "[“”„«»…–—―·・•。，、；：？！（）【】〔〕《》〈〉「」『』﹁﹂"
    "～￥＂＃％＆＊＋－．／＜＝＞＠［＼］＿｛｜｝]+"
)


@dataclass(frozen=True)
class Tokens:
    """Tokens of n texts.

    Attributes:
        codes: int64 array (sum of lengths,), the token numbers of all texts one after the other.
        lengths: int64 array (n,), tokens a text.
        size: number of different tokens; every code is below it.
    """

    codes: np.ndarray
    lengths: np.ndarray
    size: int

    @property
    def starts(self) -> np.ndarray:
        """Position of each text's first token, (n,)."""
        return np.cumsum(self.lengths) - self.lengths

    def owners(self) -> np.ndarray:
        """Number of the text each token belongs to, (sum of lengths,)."""
        return np.repeat(np.arange(len(self.lengths)), self.lengths)

    def rows(self, start: int, stop: int) -> "Tokens":
        """The tokens of texts start to stop."""
        first = int(self.lengths[:start].sum())
        last = first + int(self.lengths[start:stop].sum())
        return Tokens(self.codes[first:last], self.lengths[start:stop], self.size)

    def strings(self) -> list[str]:
        """Each text as a string of one code point a token, for algorithms that run fast on strings."""
        joined = (self.codes + 1).astype("<u4").tobytes().decode("utf-32-le", "surrogatepass")
        starts = self.starts
        return [joined[start:stop] for start, stop in zip(starts, starts + self.lengths, strict=True)]


def _as_arrow(texts: Sequence[str]) -> pa.Array:
    lowered = [text.lower() for text in texts]
    try:
        return pa.array(lowered, type=pa.large_string())
    except UnicodeEncodeError:
        # A lone surrogate, which JSON can carry: no text, so any stand-in will do.
        return pa.array([t.encode("utf-8", "replace").decode() for t in lowered], type=pa.large_string())


def tokenize(texts: Sequence[str], rule: str = "paper") -> Tokens:
    """Tokens of each text: lower case, no ASCII punctuation, split at whitespace, without a/an/the.

    The normalization of whitespace that the definition begins with changes nothing once a text is split. Rule `char`
    also drops typographic punctuation and parts CJK characters.
    """
    clean = pc.replace_substring_regex(_as_arrow(texts), _PUNCTUATION, "")
    if rule == "char":
        clean = pc.replace_substring_regex(clean, _APOSTROPHES, "")
        clean = pc.replace_substring_regex(clean, _TYPOGRAPHIC, " ")
        clean = pc.replace_substring_regex(clean, _CJK_CHARACTER, r" \1 ")
    if any(map("".join(texts).__contains__, _OTHER_SPACE)):
        clean = pc.replace_substring_regex(clean, f"[{_OTHER_SPACE}]", " ")
    words = pc.ascii_split_whitespace(clean)
    encoded = pc.dictionary_encode(words.flatten())
    codes = encoded.indices.to_numpy().astype(np.int64)
    # The empty word stands before leading and after trailing whitespace.
    dropped = pc.is_in(encoded.dictionary, pa.array(["", *ARTICLES], type=pa.large_string()))
    dropped = dropped.to_numpy(zero_copy_only=False)
    lengths = np.diff(words.offsets.to_numpy()).astype(np.int64)
    kept = ~dropped[codes] if len(codes) else np.zeros(0, dtype=bool)
    owner = np.repeat(np.arange(len(lengths)), lengths)[kept]
    return Tokens(codes[kept], np.bincount(owner, minlength=len(lengths)), len(dropped))


def join(*parts: Tokens) -> Tokens:
    """Several token lists of one vocabulary, one after the other."""
    codes = np.concatenate([part.codes for part in parts])
    lengths = np.concatenate([part.lengths for part in parts])
    return Tokens(codes, lengths, max(part.size for part in parts))
