"""Model folders are read here alone, so that what they may do stands in one place.

    tokenizer = load_tokenizer("results/base_models/en_tiny")
    model = load_weights("AutoModelForCausalLM", "results/base_models/en_tiny", dtype=torch.float32)

Weights are safetensors, which hold numbers and nothing that runs; a pickle is refused. Code that a model brings along
(`auto_map` of its config.json) is never run, and nothing is downloaded. A test finds every other way in.
"""

from pathlib import Path
from typing import Any

from polyalign.errors import BadInput
from polyalign.files import StrPath

_CAREFUL = {"trust_remote_code": False, "local_files_only": True}


def check_weights(folder: StrPath) -> None:
    """Raise `BadInput` unless the folder has weights in safetensors."""
    if any(Path(folder).glob("*.safetensors")):
        return
    pickles = sorted(path.name for path in Path(folder).glob("*.bin"))
    found = f"; {pickles[0]} is a pickle, which can run code when it is read" if pickles else ""
    raise BadInput(
        f"no safetensors weights here{found}",
        file=folder,
        expected="*.safetensors",
        fix="take a revision of the model that has them, or convert it with save_pretrained",
    )


def load_tokenizer(folder: StrPath) -> Any:
    """The tokenizer of a model folder."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder, **_CAREFUL)


def load_config(folder: StrPath) -> Any:
    """The configuration of a model folder."""
    from transformers import AutoConfig

    return AutoConfig.from_pretrained(folder, **_CAREFUL)


def load_weights(kind: str, folder: StrPath, **options: Any) -> Any:
    """The model of a folder.

    Args:
        kind: class of Transformers that reads it, such as `AutoModelForCausalLM`.
        options: of its `from_pretrained`, such as dtype.

    Raises:
        BadInput: no safetensors.
    """
    import transformers

    check_weights(folder)
    return getattr(transformers, kind).from_pretrained(folder, use_safetensors=True, **_CAREFUL, **options)
