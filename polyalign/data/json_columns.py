"""JSON text of whole columns, put together in Arrow: several times as fast as encoding a row after another."""

from json.encoder import encode_basestring

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_QUOTE, _BACKSLASH, _FIRST_PLAIN = ord('"'), ord("\\"), ord(" ")


def _ends(texts: pa.StringArray) -> np.ndarray:
    """Where each text begins in the array's data, and where the last one ends."""
    return np.frombuffer(texts.buffers()[1], np.int32)[texts.offset : texts.offset + len(texts) + 1]


def content(texts: pa.StringArray) -> memoryview:
    """The UTF-8 bytes of all texts, one after another.

    Raises:
        ValueError: a text is null, which would leave its row out.
    """
    if texts.null_count:
        raise ValueError("a text is null")
    data = texts.buffers()[2]
    if not len(texts) or data is None:
        return memoryview(b"")
    ends = _ends(texts)
    return memoryview(data)[ends[0] : ends[-1]]


def escaped(texts: pa.StringArray) -> pa.StringArray:
    """The texts as they stand between the quotes of JSON strings, non-ASCII kept."""
    signs = np.frombuffer(content(texts), np.uint8)
    special = np.flatnonzero((signs == _QUOTE) | (signs == _BACKSLASH) | (signs < _FIRST_PLAIN))
    if not special.size:
        return texts
    ends = _ends(texts)
    concerned = np.zeros(len(texts), bool)
    concerned[np.searchsorted(ends, special + ends[0], side="right") - 1] = True
    mask = pa.array(concerned)
    # Contexts and turns recur from record to record.
    found = texts.filter(mask).dictionary_encode()
    quoted = pa.array([encode_basestring(text)[1:-1] for text in found.dictionary.to_pylist()], pa.string())
    return pc.replace_with_mask(texts, mask, quoted.take(found.indices))


def filled(template: str, *columns: pa.StringArray) -> pa.StringArray:
    """`template % row` of every row, with a `%s` for each column."""
    first, *others = template.split("%s")
    parts: list[pa.StringArray | str] = [first]
    for column, text in zip(columns, others, strict=True):
        parts += [column, text]
    return pc.binary_join_element_wise(*parts, "")


def listed(items: pa.StringArray, counts: np.ndarray) -> pa.StringArray:
    """Items with commas between them, in lists of so many each: [lists]."""
    ends = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    return pc.binary_join(pa.ListArray.from_arrays(pa.array(ends), items), ", ")
