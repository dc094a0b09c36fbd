"""JSON text of columns is what the JSON encoder writes of each value."""

import json

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyalign.data.json_columns import content, escaped, filled, listed

TEXTS = st.lists(
    st.text(max_size=8) | st.sampled_from(['"', "\\", "a\nb", "\x1f\x7f", "", "中文 é 😀 \u2028"])
)


def dumped(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


@given(TEXTS, st.integers(0, 3), st.integers(0, 3))
def test_escaped_texts_are_json_strings(texts: list[str], before: int, after: int) -> None:
    """Of a slice, too: only its own texts count."""
    whole = pa.array(['"'] * before + texts + ["\n"] * after, pa.string())
    column = filled('"%s"', escaped(whole.slice(before, len(texts))))
    assert column.to_pylist() == list(map(dumped, texts))
    assert bytes(content(column)).decode() == "".join(map(dumped, texts))


def test_items_are_listed_row_by_row() -> None:
    items = pa.array(["1", "2", "3", "4"]).slice(1)
    assert listed(items, np.array([0, 2, 0, 1])).to_pylist() == ["", "2, 3", "", "4"]


def test_a_null_leaves_no_row_out_in_silence() -> None:
    with pytest.raises(ValueError, match="null"):
        content(filled("%s", pa.array(["a", None])))
