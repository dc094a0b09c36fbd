"""Answers that hold to a JSON schema, token by token, for the transformers engine; by llguidance, as vLLM does it.

    matcher = Grammars(tokenizer, vocabulary).matcher(schema)
    forbid(logits, [matcher])          # what may not come next is -inf
    matcher.accept(token)

Nothing is written between the parts of the JSON text, so that an answer cannot go on for ever with white space.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from polyalign.errors import BadInput, PolyAlignError


class Matcher:
    """How far one answer has got in its schema.

    Args:
        state: llguidance's matcher, at its start.
        vocabulary: number of token ids that the model scores.
    """

    def __init__(self, state: Any, vocabulary: int) -> None:
        self._state = state
        self._vocabulary = vocabulary

    @property
    def whole(self) -> bool:
        """Whether the answer is a whole value of the schema, which nothing can follow."""
        return self._state.is_stopped()

    def allowed(self) -> np.ndarray:
        """Which tokens may come next, bool [vocabulary].

        Raises:
            PolyAlignError: no token of the vocabulary goes on with the answer.
        """
        bits = np.frombuffer(self._state.compute_bitmask(), dtype=np.uint8)
        # The last word of the mask may go beyond the vocabulary.
        found = np.unpackbits(bits, count=self._vocabulary, bitorder="little").view(bool)
        if not found.any():
            raise PolyAlignError(
                f"no token goes on with an answer by the schema: {self._state.get_error() or 'the vocabulary lacks it'}"
            )
        return found

    def forced(self) -> list[int]:
        """Tokens that come next whatever the model says, such as the name of the next property; often none."""
        return self._state.compute_ff_tokens()

    def accept(self, token: int) -> None:
        """Go on by a token that was allowed."""
        if not self._state.consume_token(token):
            raise PolyAlignError(f"token {token} breaks the schema: {self._state.get_error()}")


class Grammars:
    """Schemas made ready for a tokenizer, each once; nothing is loaded before the first is asked for.

    Args:
        vocabulary: number of token ids that the model scores; at least those of the tokenizer count.
    """

    def __init__(self, tokenizer: Any, vocabulary: int) -> None:
        self._tokenizer = tokenizer
        self._vocabulary = vocabulary
        self._known: Any = None
        self._first: dict[str, Any] = {}

    def matcher(self, schema: str) -> Matcher:
        """A matcher at the start of `schema`.

        Raises:
            BadInput: the schema, or the tokenizer, is none that llguidance can work with.
        """
        if schema not in self._first:
            self._first[schema] = self._compiled(schema)
        return Matcher(self._first[schema].deep_copy(), self._vocabulary)

    def _compiled(self, schema: str) -> Any:
        from llguidance import LLMatcher
        from llguidance.hf import from_tokenizer

        if self._known is None:
            self._known = from_tokenizer(self._tokenizer, n_vocab=max(self._vocabulary, len(self._tokenizer)))
        grammar = LLMatcher.grammar_from_json_schema(schema, overrides={"whitespace_flexible": False})
        found = LLMatcher(self._known, grammar)
        if found.is_error():
            raise BadInput(f"a JSON schema that cannot be held to ({found.get_error()})", field="schema")
        return found


def forbid(logits: torch.Tensor, matchers: Sequence[Matcher | None]) -> None:
    """Set what rows may not say next to -inf, in place.

    Args:
        logits: [rows, vocabulary].
        matchers: of each row; None for a row of free text, and for one that is finished.
    """
    for row, matcher in enumerate(matchers):
        if matcher is not None:
            allowed = torch.from_numpy(matcher.allowed()).to(logits.device)
            logits[row].masked_fill_(~allowed, -torch.inf)
