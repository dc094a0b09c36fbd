"""Sizes of texts and sentences, the shape of sentences, and the casing and form of tokens."""

import numpy as np

from polyalign.features.units import Units, ratio


def _spread(values: np.ndarray, owner: np.ndarray, count: int) -> dict[str, np.ndarray]:
    """Mean, minimum, maximum and population standard deviation of each text's values, 0 without a value."""
    size = np.bincount(owner, minlength=count)
    mean = ratio(np.bincount(owner, weights=values, minlength=count), size)
    squares = np.bincount(owner, weights=(values - mean[owner]) ** 2, minlength=count)
    least = np.full(count, np.inf)
    np.minimum.at(least, owner, values)
    most = np.zeros(count)
    np.maximum.at(most, owner, values)
    return {
        "avg": mean,
        "min": np.where(size > 0, least, 0.0),
        "max": most,
        "std": np.sqrt(ratio(squares, size)),
    }


def _sizes(units: Units, characters: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    parts = units.sentences
    tokens = units.tokens.lengths
    count = np.bincount(parts.owner, minlength=units.count)
    filled = parts.tokens > 0
    by_tokens = _spread(parts.tokens[filled], parts.owner[filled], units.count)
    by_characters = _spread(parts.characters, parts.owner, units.count)
    return {
        "token_count": tokens.astype(np.float64),
        "sentence_count": count.astype(np.float64),
        "avg_char_per_token": ratio(characters["char_no_space_count"], tokens),
        "avg_char_per_sentence": ratio(characters["char_count"], count),
        "punctuation_density": ratio(characters["punctuation_count"], tokens),
        **{f"{name}_tokens_per_sentence": values for name, values in by_tokens.items()},
        **{f"{name}_sentence_char_length": values for name, values in by_characters.items()},
    }


def _sentence_shape(units: Units) -> dict[str, np.ndarray]:
    parts = units.sentences
    count = np.bincount(parts.owner, minlength=units.count)
    shapes = {
        "question_sentence_ratio": [mark in "?？" for mark in parts.last],
        "exclam_sentence_ratio": [mark in "!！" for mark in parts.last],
        "terminal_punctuation_ratio": [mark in ".!?。！？" for mark in parts.last],
        "sentence_initial_capital_ratio": [character.isupper() for character in parts.first],
    }
    return {
        name: ratio(
            np.bincount(parts.owner, weights=np.array(flags, dtype=float), minlength=units.count), count
        )
        for name, flags in shapes.items()
    }


_TOKEN_TESTS = {
    "all_caps_token_count": lambda token: token.isupper() and len(token) > 1,
    "title_case_token_count": lambda token: token[0].isupper() and token[1:].islower(),
    "lowercase_token_count": str.islower,
    "contraction_count": lambda token: "'" in token,
    "number_token_count": lambda token: any(map(str.isdigit, token)),
}


def measure_shape(units: Units, characters: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Shape features of a batch, each [texts]: groups sizes, sentences, casing and tokens of group forms."""
    tokens = units.tokens
    columns = {name: tokens.total(tokens.each(test)) for name, test in _TOKEN_TESTS.items()}
    for name in ("all_caps_token", "title_case_token"):
        columns[f"{name}_ratio"] = ratio(columns[f"{name}_count"], tokens.lengths)
    return {**columns, **_sizes(units, characters), **_sentence_shape(units)}
