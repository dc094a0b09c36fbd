# Input functions for released artifacts, kept apart from common.smk for its length.
from polyalign.config import parse_cell
from polyalign.released import checkpoint_files


def local_path(place):
    """Where a released artifact is on this machine, checked to be there; None where it is on the hub."""
    place = CFG.mirrored(place)
    return None if place.path is None else or_exit(place.find, from_checkout(place.path))


RELEASED = CFG.released_files()
LOCAL = {artifact: local_path(place) for artifact, place in RELEASED.items()}


def released_artifact(wildcards):
    """Name of a released file: the cell whose predictions it holds, or {lang}_records_{split}."""
    names = dict(wildcards.items())
    return names.get("artifact") or names.get("cell") or "{lang}_records_{split}".format(**names)


def released_place(wildcards):
    """Where a released file comes from, as plain values."""
    return RELEASED[released_artifact(wildcards)].model_dump()


def released_file(wildcards):
    """A released file: the local one, or the one that is downloaded here."""
    artifact = released_artifact(wildcards)
    return LOCAL[artifact] or f"resources/released/{artifact}.jsonl"


def test_split_of_cell(wildcards):
    """The records that released predictions of a cell index."""
    return f"results/splits/{parse_cell(wildcards.cell, CFG)[0]}/test.parquet"


def stated_decoding(wildcards):
    """Decoding of released predictions where the configuration says that it is the published one, else unknown."""
    method = parse_cell(wildcards.cell, CFG)[1]
    return CFG.decoding_of(method).model_dump() if CFG.published_decoding else None


def checkpoint_place(wildcards):
    """Where the checkpoint of a cell was released, as plain values."""
    return CFG.cells[wildcards.cell].checkpoint.model_dump()


def checkpoint_folder(wildcards):
    """The local folder of a cell's released checkpoint; None where it is on the hub."""
    return local_path(CFG.cells[wildcards.cell].checkpoint)


def local_checkpoint(wildcards):
    """Files of a cell's released checkpoint where it is a local folder."""
    folder = checkpoint_folder(wildcards)
    return [] if folder is None else list(map(str, checkpoint_files(folder)))


def checkpoint_templates(wildcards):
    """Texts of the chat template that replaces a released checkpoint's, if any, and of the one for want of its own."""
    model = CFG.models[parse_cell(wildcards.cell, CFG)[2]]
    names = {
        "chat_template": CFG.cells[wildcards.cell].chat_template,
        "default_template": model.chat_template,
    }
    return {use: name and or_exit(load_chat_template, name) for use, name in names.items()}
