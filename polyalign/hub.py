"""Fetch a base model from the Hugging Face hub: one revision, safetensors only, our chat template added."""

import shutil
from pathlib import Path
from typing import Any

from polyalign.errors import BadInput
from polyalign.files import StrPath, atomic_directory, sha256_file

MODEL_FILES = (
    "*.safetensors",
    "*.json",
    "tokenizer.model",
    "*.tiktoken",
    "merges.txt",
    "LICENSE*",
    "NOTICE*",
)
"""What a model folder needs: weights in safetensors, configuration, tokenizer, and its licence."""
UNWANTED_FILES = ("*.bin", "*.pth", "*.gguf", "onnx/*", "original/*")
TEMPLATE_FILE = "chat_template.jinja"


def fetch_model(
    repository: str,
    revision: str,
    out_dir: StrPath,
    *,
    chat_template: str | None,
    endpoint: str | None = None,
) -> dict[str, Any]:
    """Download a model snapshot to `out_dir` and give it the chat template that this project fixes for it.

    Args:
        repository: owner and name on the hub.
        revision: branch, tag or commit; the manifest records the commit that it stood for.
        out_dir: folder of the model; replaced as a whole when the download is complete.
        chat_template: Jinja text, written as chat_template.jinja over any template that the model ships; None
            keeps that one.
        endpoint: address of the hub, where it is not the usual one.

    Returns:
        repository, revision, commit and {file: SHA-256}, for the manifest.

    Raises:
        BadInput: repository or revision is not there, access is refused, the download fails, or there are no
            safetensors weights.
    """
    with atomic_directory(out_dir) as folder:
        commit = _download(repository, revision, folder, endpoint)
        # The client's own bookkeeping is no part of the model.
        shutil.rmtree(folder / ".cache", ignore_errors=True)
        if not any(folder.glob("*.safetensors")):
            raise BadInput(
                f"{repository} has no safetensors weights at commit {commit}",
                expected="at least one *.safetensors file",
                fix="choose a revision that has them, in models.<name>.revision",
            )
        if chat_template is not None:
            (folder / TEMPLATE_FILE).write_text(chat_template, encoding="utf-8")
        return {
            "repository": repository,
            "revision": revision,
            "commit": commit,
            "files": {
                str(path.relative_to(folder)): sha256_file(path)
                for path in sorted(folder.rglob("*"))
                if path.is_file()
            },
        }


def _download(repository: str, revision: str, folder: Path, endpoint: str | None) -> str:
    """Download the snapshot into `folder`; returns the commit that `revision` stands for."""
    from huggingface_hub import HfApi, errors, snapshot_download

    place = f"model {repository}, revision {revision}"
    try:
        commit = HfApi(endpoint=endpoint).model_info(repository, revision=revision).sha
        snapshot_download(
            repository,
            revision=commit,
            local_dir=folder,
            allow_patterns=list(MODEL_FILES),
            ignore_patterns=list(UNWANTED_FILES),
            endpoint=endpoint,
        )
    except errors.GatedRepoError:
        raise BadInput(
            f"access to {place} is refused", fix="accept its terms on the hub and log in"
        ) from None
    except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError) as error:
        raise BadInput(
            f"{place} is not there ({type(error).__name__})", fix="correct models.<name>.hub and .revision"
        ) from None
    except (OSError, errors.HfHubHTTPError) as error:
        raise BadInput(
            f"downloading {place} failed ({error})",
            fix="check the network, or put the model folder with a manifest in its place",
        ) from None
    return str(commit)
