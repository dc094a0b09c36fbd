"""Model folders are read here alone, so that what they may do stands in one place.

    tokenizer = load_tokenizer("results/base_models/en_tiny")
    model = load_weights("AutoModelForCausalLM", "results/base_models/en_tiny", dtype=torch.float32)

Weights are safetensors, which hold numbers and nothing that runs; a pickle is refused. Code that a model brings along
(`auto_map` of its config.json) is never run, and nothing is downloaded. A test finds every other way in.
"""

from pathlib import Path
from typing import Any

from polyalign.errors import BadInput
from polyalign.files import StrPath, read_json
from polyalign.throughput import keep_freed_memory

_INDEX = "model.safetensors.index.json"
_CAREFUL = {"trust_remote_code": False, "local_files_only": True}


def check_weights(folder: StrPath) -> list[Path]:
    """Files of a folder's weights, by name, all of them there.

    Raises:
        BadInput: no safetensors, or a shard that their index lists is missing.
    """
    root = Path(folder)
    found = sorted(root.glob("*.safetensors"))
    if not found:
        pickles = sorted(path.name for path in root.glob("*.bin"))
        what = f"; {pickles[0]} is a pickle, which can run code when it is read" if pickles else ""
        raise BadInput(
            f"no safetensors weights here{what}",
            file=folder,
            expected="*.safetensors",
            fix="take a revision of the model that has them, or convert it with save_pretrained",
        )
    index = root / _INDEX
    if index.is_file():
        listed = {str(name) for name in read_json(index)["weight_map"].values()}
        if missing := sorted(listed - {path.name for path in found}):
            raise BadInput(
                f"{len(missing)} of {len(listed)} shards of the weights missing",
                file=root / missing[0],
                expected=f"every file that {_INDEX} lists",
                fix="put it back, or build or fetch the model again",
            )
    return found


def load_tokenizer(folder: StrPath) -> Any:
    """The tokenizer of a model folder."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder, **_CAREFUL)


def load_config(folder: StrPath) -> Any:
    """The configuration of a model folder."""
    from transformers import AutoConfig

    return AutoConfig.from_pretrained(folder, **_CAREFUL)


def load_weights(kind: str, folder: StrPath, **options: Any) -> Any:
    """The model of a folder; from here on, this process keeps freed memory, see `keep_freed_memory`.

    Args:
        kind: class of Transformers that reads it, such as `AutoModelForCausalLM`.
        options: of its `from_pretrained`, such as dtype.

    Raises:
        BadInput: no safetensors, a shard of them missing, or a file of them broken.
    """
    import transformers
    from safetensors import SafetensorError

    check_weights(folder)
    keep_freed_memory()
    try:
        return getattr(transformers, kind).from_pretrained(
            folder, use_safetensors=True, **_CAREFUL, **options
        )
    except SafetensorError as error:
        raise BadInput(
            f"broken weights ({error})",
            file=folder,
            expected="whole *.safetensors",
            fix="build or fetch the model again",
        ) from None


def check_modules(folder: StrPath) -> None:
    """Raise `BadInput` where a folder of sentence-transformers brings along classes of its own.

    That package imports whatever modules.json names, and runs a file of the folder for it, untrusted or not.
    """
    path = Path(folder) / "modules.json"
    for module in read_json(path) if path.is_file() else []:
        if not str(module["type"]).startswith("sentence_transformers."):
            raise BadInput(
                f"{module['type']} is code from elsewhere",
                file=path,
                field="type",
                expected="classes of sentence_transformers",
                fix="take an encoder without code of its own, or kind pooled",
            )
