"""Tokens, lexical words and sentences of a normalized text, each found once.

The NLTK tokenizers are wrapped, not replaced: their answers are remembered for the pieces of text that come again
and again, which gives the same tokens many times faster. Definitions: docs/features.md, Units.
"""

import re
from collections.abc import Callable

from polyalign.records import CJK

_ALPHA_WORD = r"[A-Za-z]+(?:'[A-Za-z]+)?"
CJK_CHARACTER = re.compile(f"[{CJK}]")
LEXICAL = re.compile(rf"{_ALPHA_WORD}|\d+|[{CJK}]")
CJK_TOKENS = re.compile(rf"{_ALPHA_WORD}|\d+|[{CJK}]|[^\w\s]")
_CJK_SENTENCE_END = re.compile(r"(?<=[.!?。！？；;])|\n")

Tokenize = Callable[[str], list[str]]

_MEMO_LIMIT = 300_000
# Words that the Treebank rules take apart although they hold letters only.
_JOINED_WORDS = frozenset(("cannot", "gimme", "gonna", "gotta", "lemme", "wanna"))
_WORD_PARTS = re.compile(r"[-.,:]")
# Characters that may stand between the last period of a sentence and its end.
_CLOSERS = "])}>\"'»”’"


def has_cjk(text: str) -> bool:
    """Whether a CJK character (U+3400-4DBF, 4E00-9FFF, F900-FAFF) occurs."""
    return CJK_CHARACTER.search(text) is not None


def cjk_sentences(text: str) -> list[str]:
    """Sentences of Chinese text: split after end marks and semicolons and at newlines (`paper`)."""
    parts = (part.strip() for part in _CJK_SENTENCE_END.split(text))
    return [part for part in parts if part]


class WordTokenizer:
    """Treebank word tokens of one sentence, equal to NLTK's tokenizer, by way of its whitespace-separated pieces.

    Every rule of the tokenizer looks at most one character past a space, except the one for the final period. So a
    piece has the same tokens wherever it stands between two others, and only the first and the last piece of a
    sentence are kept apart.
    """

    def __init__(self, tokenize: Tokenize) -> None:
        self._tokenize = tokenize
        self._inner = _PieceMemo(",;:?!", lambda piece: tokenize(f"x {piece} x")[1:-1])
        self._first = _PieceMemo(",;:?!", lambda piece: tokenize(f"{piece} x")[:-1])
        self._last = _PieceMemo(".,;:?!", lambda piece: tokenize(f"x {piece}")[1:])
        self._whole = _PieceMemo(".,;:?!", tokenize)

    def __call__(self, sentence: str) -> list[str]:
        pieces = sentence.split(" ")
        if len(pieces) == 1:
            return self._whole[sentence]
        last = pieces.pop()
        if not last.strip(_CLOSERS) or not pieces[0]:
            return self._tokenize(sentence)
        tokens = list(self._first[pieces[0]])
        inner = self._inner
        for piece in pieces[1:]:
            tokens += inner[piece]
        tokens += self._last[last]
        return tokens


class _PieceMemo(dict[str, list[str]]):
    """Tokens of pieces in one kind of place; a plain word, alone or before one of `marks`, needs no tokenizer.

    Plain are letters and digits, joined by single hyphens or periods, or by commas and colons before a digit.
    """

    def __init__(self, marks: str, tokenize: Tokenize) -> None:
        super().__init__()
        self._plain = re.compile(
            rf"([A-Za-z0-9]+(?:(?:[-.]|[,:](?=[0-9]))[A-Za-z0-9]+)*)([{re.escape(marks)}]?)"
        )
        self._tokenize = tokenize

    def __missing__(self, piece: str) -> list[str]:
        if len(self) > _MEMO_LIMIT:
            self.clear()
        plain = self._plain.fullmatch(piece)
        if plain is None or not _JOINED_WORDS.isdisjoint(_WORD_PARTS.split(plain[1].lower())):
            tokens = self._tokenize(piece)
        else:
            tokens = [plain[1], plain[2]] if plain[2] else [piece]
        self[piece] = tokens
        return tokens


_ABBREVIATIONS = frozenset(
    re.findall(
        r"\w+",
        "adm al apr approx aug ave ca capt cf co col corp dec dept dr ed eds eg est esp etc feb fig figs fri gen gov "
        "hon ie inc jan jr jul jun lt ltd mar messrs mon mr mrs ms mt nov oct op pp prof pt rep rev sat sec sen sep "
        "sept sgt sr st sun thu tue univ vol vols vs wed",
    )
)
_BOUNDARY = re.compile(
    r"(?P<mark>[.!?…]+)[\"'”’»)\]}]*(?P<gap>\s+)(?=(?P<next>\S))"
    r"|(?P<block>\n\s*\n|\n(?=\s*(?:[-*•]|\d{1,3}[.)])\s))"
)
_WORD_BEFORE = re.compile(r"[^\s(\[{\"'“‘«]*$")


def _is_boundary(text: str, match: re.Match[str]) -> bool:
    """Whether an end mark followed by whitespace ends a sentence."""
    if match["block"] is not None or "\n\n" in match["gap"]:
        return True
    if match["next"].islower():
        return False
    if match["mark"] != ".":
        return True
    # At most the last 40 characters are looked at, so that a long unbroken text stays cheap.
    start = max(0, match.start() - 40)
    word = _WORD_BEFORE.search(text[start : match.start()])
    before = word.group() if word else ""
    initial = len(before) == 1 and before.isupper() and before != "I"
    dotted = "." in before and all(len(part) <= 1 for part in before.split("."))
    return not (initial or dotted or before.lower() in _ABBREVIATIONS)


def rule_sentences(text: str) -> list[str]:
    """Sentences by rules alone (`core-v1`): end marks before a non-lower-case character, blank lines, list items.

    Known abbreviations, initials and dotted abbreviations do not end a sentence.
    """
    sentences = []
    start = 0
    for match in _BOUNDARY.finditer(text):
        if _is_boundary(text, match):
            sentences.append(text[start : match.end()].strip())
            start = match.end()
    sentences.append(text[start:].strip())
    return [sentence for sentence in sentences if sentence]
