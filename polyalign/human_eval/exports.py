"""Read annotators' exports with the key: whose answer each rating is of, and every mistake in one line."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from polyalign.errors import BadInput, BadInputs
from polyalign.files import StrPath, read_json
from polyalign.human_eval.settings import CHOICES, EXPORT_KIND, KEY_KIND, SCALE, VERSION

_AGAIN = "export the ratings from the page again"


@dataclass(frozen=True)
class Rating:
    """What one annotator said of one item.

    Attributes:
        prompt: number of the prompt in the key.
        systems: the one that was scored, or those at the first and the second place.
        scores: by dimension; empty for a pair. An item may have been left half done.
        choice: one of `CHOICES`; None for a single answer.
    """

    annotator: str
    site: str
    item: str
    prompt: int
    systems: tuple[str, ...]
    scores: Mapping[str, int]
    choice: str | None
    comment: str


@dataclass(frozen=True)
class Key:
    """The key: prompts, and by site its mode, dimensions, systems and items."""

    language: str
    prompts: Sequence[Mapping[str, Any]]
    sites: Mapping[str, Mapping[str, Any]]


def read_key(path: StrPath) -> Key:
    """The key that `build` wrote; raises `BadInput` for anything else."""
    value = read_json(path)
    if not isinstance(value, dict) or value.get("kind") != KEY_KIND or value.get("version") != VERSION:
        raise BadInput("no key of a human evaluation", file=path, fix="give the key.json that `build` wrote")
    return Key(value["language"], value["prompts"], value["sites"])


def _problems_of_answer(answer: Any, site: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """(field, problem, expected) of an item's answer."""
    if not isinstance(answer, dict):
        yield "answers", f"found {answer!r:.40}", "an object"
        return
    if not isinstance(answer.get("comment", ""), str):
        yield "comment", f"found {answer['comment']!r:.40}", "a text"
    choice, scores = answer.get("choice"), answer.get("scores", {})
    if site["mode"] == "pairwise":
        if choice is not None and choice not in CHOICES:
            yield "choice", f"found {choice!r:.40}", f"one of {', '.join(CHOICES)}"
        return
    if not isinstance(scores, dict):
        yield "scores", f"found {scores!r:.40}", "an object"
        return
    low, high = SCALE
    for name, score in scores.items():
        if name not in site["dimensions"]:
            yield f"scores.{name}", "unknown dimension", f"one of {', '.join(site['dimensions'])}"
        elif not isinstance(score, int) or isinstance(score, bool) or not low <= score <= high:
            yield f"scores.{name}", f"found {score!r:.40}", f"an integer from {low} to {high}"


def _rating(annotator: str, site_id: str, item: str, owner: Mapping[str, Any], answer: Mapping) -> Rating:
    return Rating(
        annotator,
        site_id,
        item,
        owner["prompt"],
        tuple(owner["systems"]),
        answer.get("scores", {}),
        answer.get("choice"),
        answer.get("comment", ""),
    )


def _read_export(path: StrPath, key: Key, problems: list[BadInput]) -> Iterator[Rating]:
    value = read_json(path)
    if not isinstance(value, dict) or value.get("kind") != EXPORT_KIND or value.get("version") != VERSION:
        problems.append(BadInput("no export of a human evaluation", file=path, fix=_AGAIN))
        return
    annotator, answers = value.get("annotator"), value.get("answers")
    if not isinstance(annotator, str) or not annotator.strip():
        problem = BadInput(
            "no annotator", file=path, field="annotator", expected="a name or code", fix=_AGAIN
        )
        problems.append(problem)
        return
    if not isinstance(answers, dict):
        problem = BadInput(
            f"found {answers!r:.40}", file=path, field="answers", expected="an object", fix=_AGAIN
        )
        problems.append(problem)
        return
    site = key.sites.get(str(value.get("site")))
    if site is None:
        found = str(value.get("site"))[:40]
        problem = BadInput(
            f"ratings of another site, {found}",
            file=path,
            field="site",
            expected=f"one of {', '.join(key.sites)}",
            fix="give the key.json of the site that was rated",
        )
        problems.append(problem)
        return
    for item, answer in answers.items():
        owner = site["items"].get(item)
        if owner is None:
            problems.append(
                BadInput("unknown item", file=path, id=item[:40], expected="an item of the site", fix=_AGAIN)
            )
            continue
        wrong = list(_problems_of_answer(answer, site))
        problems += [
            BadInput(problem, file=path, id=item, field=field, expected=expected, fix=_AGAIN)
            for field, problem, expected in wrong
        ]
        said = not wrong and answer.get("scores" if site["mode"] == "single" else "choice")
        if said:
            yield _rating(annotator.strip(), value["site"], item, owner, answer)


def read_exports(paths: Sequence[StrPath], key: Key) -> list[Rating]:
    """Every rating of the exports; items that were not rated, or only commented on, are left out.

    Raises:
        BadInputs: one line a problem: no export, another site, an unknown item or dimension, a score out of range, an
            item that one annotator rated in two files.
        BadInput: there are no ratings.
    """
    problems: list[BadInput] = []
    found: dict[tuple[str, str, str], tuple[StrPath, Rating]] = {}
    for path in paths:
        for rating in _read_export(path, key, problems):
            place = rating.annotator, rating.site, rating.item
            if place in found:
                problems.append(
                    BadInput(
                        f"{rating.annotator} rated the item in {found[place][0]}, too",
                        file=path,
                        id=rating.item,
                        expected="one export an annotator and page, each annotator under a name of their own",
                        fix="leave out the older export",
                    )
                )
            else:
                found[place] = path, rating
    if problems:
        raise BadInputs(problems)
    if not found:
        raise BadInput(
            "no ratings", file=paths[0] if paths else None, fix="give at least one export with ratings"
        )
    return [rating for _, rating in found.values()]
