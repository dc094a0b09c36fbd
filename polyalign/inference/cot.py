"""The final answer in a chain-of-thought output: what stands after the label that the prompt asked for."""

import re

from polyalign.prompts import FINAL_ANSWER_LABEL

_NAMES = "|".join(re.escape(label.rstrip(":：")) for label in FINAL_ANSWER_LABEL.values())
# A line may dress the label up: `**Final answer:** 42`, `### 最终答案：`, `- Final Answer: 42`.
_LABEL = re.compile(rf"^[\s>#*_\-]*(?:{_NAMES})\s*[*_]*\s*[:：]\s*[*_]*", re.IGNORECASE | re.MULTILINE)


def extract_final_answer(text: str) -> str | None:
    """The text after the first final-answer label that opens a line, stripped; None without such a label.

    Labels of either language count, since a model may reason in one and was asked in the other. The label
    must open its line: a sentence that merely announces the final answer is reasoning. Nothing after the
    label means an empty answer, which is not the same as no label.
    """
    match = _LABEL.search(text)
    if match is None:
        return None
    # A label that comes again opens another answer, to a question the model asked itself.
    return _LABEL.split(text[match.end() :], maxsplit=1)[0].strip()
