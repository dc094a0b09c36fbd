"""Blinding: which answers an annotator sees, in which order, and the key that tells whose they are.

Order and item names come from an HMAC under a secret that is a digest of the seed and of the sample with its system
names. The page holds neither; the key does, and stays with whoever runs the evaluation. Equal inputs give an equal
site, so building it again does not orphan the exports of an earlier one.
"""

import hmac
from collections.abc import Callable, Sequence
from itertools import combinations
from typing import Any

from polyalign.files import sha256_json
from polyalign.human_eval.sample import Prompt
from polyalign.human_eval.settings import DIMENSIONS, SCALE, VERSION, HumanEvalSettings, Mode
from polyalign.methods import HUMAN

Keyed = Callable[..., str]


def keyed_digest(prompts: Sequence[Prompt], seed: int) -> Keyed:
    """A function of texts whose value nobody can compute without the seed and the sample."""
    secret = sha256_json([seed, [prompt.row() for prompt in prompts]]).encode()

    def digest(*parts: str) -> str:
        return hmac.digest(secret, "\0".join(parts).encode(), "sha256").hex()

    return digest


def _in_turn(options: Sequence[Any], count: int | None, position: int) -> list[Any]:
    """`count` of the options, going on where the prompt before this one ended, so that all come equally often."""
    if count is None or count >= len(options):
        return list(options)
    start = position * count
    return [options[(start + offset) % len(options)] for offset in range(count)]


def _groups(systems: Sequence[str], mode: Mode, settings: HumanEvalSettings, keyed: Keyed) -> list[list[Any]]:
    """What can be judged of one prompt (systems or pairs of them), in an order without meaning."""
    found = [(name,) for name in systems] if mode == "single" else list(combinations(systems, 2))
    return sorted(found, key=lambda names: keyed("turn", mode, *names))


def build_site(prompts: Sequence[Prompt], mode: Mode, language: str, settings: HumanEvalSettings) -> tuple:
    """The page's data, which name no system, and the key's part for the site.

    Returns:
        (data, key): data of the page with its id under `site`; the key has, by item id, prompt and systems.
    """
    keyed = keyed_digest(prompts, settings.seed)
    systems = list(prompts[0].answers) + ([HUMAN] if settings.reference == "answer" else [])
    options = _groups(systems, mode, settings, keyed)
    limit = settings.answers_per_prompt if mode == "single" else settings.pairs_per_prompt
    # By bin and corpus, the place of a prompt would tell something of its length.
    order = sorted(range(len(prompts)), key=lambda number: keyed("prompt", mode, prompts[number].id))
    shown: list[dict[str, Any]] = []
    items: list[dict[str, Any]] = []
    owners: dict[str, Any] = {}
    for place, number in enumerate(order):
        prompt = prompts[number]
        texts = {**prompt.answers, HUMAN: prompt.record["human_answer"]}
        judged = _in_turn(options, limit, number)
        names = sorted({name for group in judged for name in group}, key=_rank(keyed, mode, prompt))
        reference = prompt.record["human_answer"] if settings.reference == "shown" else None
        shown.append({**prompt.shown(), "reference": reference, "answers": [texts[name] for name in names]})
        for group in sorted(judged, key=lambda group: keyed("item", mode, prompt.id, *group)):
            sides = sorted(group, key=lambda name: keyed("side", prompt.id, *group, name))
            identifier = keyed("item", mode, prompt.id, *group)[:12]
            items.append({"id": identifier, "prompt": place, "answers": [names.index(s) for s in sides]})
            owners[identifier] = {"prompt": number, "systems": sides}
    if mode == "single":
        # Answers of a prompt are read from the top; which system stands there says nothing.
        items.sort(key=lambda item: (item["prompt"], item["answers"]))
    dimensions = [
        name for name in DIMENSIONS if settings.reference == "shown" or name != "reference_alignment"
    ]
    data = {
        "version": VERSION,
        "mode": mode,
        "language": language,
        "dimensions": dimensions if mode == "single" else [],
        "scale": list(SCALE),
        "prompts": shown,
        "items": items,
    }
    data["site"] = sha256_json(data)[:16]
    return data, {"mode": mode, "dimensions": data["dimensions"], "systems": systems, "items": owners}


def _rank(keyed: Keyed, mode: Mode, prompt: Prompt) -> Callable[[str], str]:
    return lambda name: keyed("place", mode, prompt.id, name)
