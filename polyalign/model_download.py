"""Fetch a base model from the Hugging Face hub: one revision, safetensors only, our chat template added."""

import os
import shutil
from typing import Any

from polyalign.downloads import HubRepository, download_folder
from polyalign.errors import BadInput
from polyalign.files import StrPath, atomic_directory, sha256_file

MODEL_FILES = (
    "*.safetensors",
    "*.json",
    "tokenizer.model",
    "*.tiktoken",
    "*.jinja",
    "merges.txt",
    "LICENSE*",
    "NOTICE*",
)
"""What a model folder needs: weights in safetensors, configuration, tokenizer and chat template, and its licence."""
UNWANTED_FILES = ("*.bin", "*.pth", "*.gguf", "onnx/*", "original/*", "consolidated*.safetensors")
"""The last are Mistral's own copy of the weights, beside those that Transformers reads."""
TEMPLATE_FILE = "chat_template.jinja"


def fetch_model(
    repository: str,
    revision: str,
    out_dir: StrPath,
    *,
    chat_template: str | None,
    endpoint: str | None = None,
    key: str = "models.<name>",
) -> dict[str, Any]:
    """Download a model snapshot to `out_dir` and give it the chat template that this project fixes for it.

    Args:
        repository: owner and name on the hub.
        revision: branch, tag or commit; the manifest records the commit that it stood for.
        out_dir: folder of the model; replaced as a whole when the download is complete. Until then what has
            arrived stays in `download_folder(out_dir)`, also after a failure, for the next call.
        chat_template: Jinja text, written as chat_template.jinja over any template that the model ships; None
            keeps that one.
        endpoint: address of the hub, where it is not that of HF_ENDPOINT or the usual one.
        key: where the configuration names the repository, for messages.

    Returns:
        repository, revision, commit and {file: SHA-256}, for the manifest.

    Raises:
        BadInput: repository or revision is not there, access is refused, the download keeps failing or arrives
            damaged, or there are no safetensors weights.
    """
    from huggingface_hub.utils import filter_repo_objects

    snapshot = HubRepository(
        kind="model",
        repo=repository,
        revision=revision,
        label="model",
        fix=f"correct {key}.hub and .revision",
        instead="put the model folder with a manifest in its place",
        endpoint=endpoint,
    ).resolve()
    wanted = filter_repo_objects(
        snapshot.files, allow_patterns=list(MODEL_FILES), ignore_patterns=list(UNWANTED_FILES)
    )
    names = sorted(wanted)
    if not any(name.endswith(".safetensors") and "/" not in name for name in names):
        raise BadInput(
            f"{repository} has no safetensors weights at commit {snapshot.commit}",
            expected="at least one *.safetensors file",
            fix=f"choose a revision that has them, in {key}.revision",
        )
    downloads = download_folder(out_dir)
    arrived = {name: snapshot.download(name, downloads) for name in names}
    with atomic_directory(out_dir) as folder:
        for name, path in arrived.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            os.replace(path, folder / name)
        if chat_template is not None:
            (folder / TEMPLATE_FILE).write_text(chat_template, encoding="utf-8")
        files = {
            str(path.relative_to(folder)): sha256_file(path)
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        }
    shutil.rmtree(downloads)
    return {"repository": repository, "revision": revision, "commit": snapshot.commit, "files": files}
