"""Resumable training state in work/{cell}/{fingerprint}/, which no rule declares, so that nothing deletes it.

The fingerprint covers data, initial model, recipe, cut-off, seed and code: a killed job goes on, a changed
one starts clean. A checkpoint counts only with its marker, written after everything else in it, so that one
half-written when the process died is never read.
"""

import logging
import os
import re
import shutil
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from transformers import TrainerCallback

from polyalign.errors import RETRY_CODE, PolyAlignError
from polyalign.files import StrPath, read_json, sha256_file, sha256_json, write_json

log = logging.getLogger(__name__)

MARKER = "complete.json"
CHECKPOINTS = "checkpoints"
_CHECKPOINT = re.compile(r"checkpoint-(\d+)")
FINGERPRINT_LENGTH = 16


def model_digest(folder: StrPath) -> str:
    """Digest of a model folder: of its manifest where there is one, else of its files."""
    manifest = Path(folder) / "manifest.json"
    if manifest.is_file():
        return sha256_file(manifest)
    files = sorted(file for file in Path(folder).iterdir() if file.is_file())
    return sha256_json({file.name: sha256_file(file) for file in files})


def fingerprint(
    *,
    data: Mapping[str, StrPath],
    init_dir: StrPath,
    recipe: Mapping[str, Any],
    max_length: int,
    seed: int,
    precision: str,
    code: str,
    critic_dir: StrPath | None = None,
) -> dict[str, Any]:
    """Everything a training run depends on, as digests; `name_of` makes a folder name of it."""
    return {
        "data": {name: sha256_file(path) for name, path in sorted(data.items())},
        "init": model_digest(init_dir),
        "critic": None if critic_dir is None else model_digest(critic_dir),
        "recipe": dict(recipe),
        "max_length": max_length,
        "seed": seed,
        "precision": precision,
        "code": code,
    }


def name_of(parts: Mapping[str, Any]) -> str:
    """The folder name of a fingerprint."""
    return sha256_json(parts)[:FINGERPRINT_LENGTH]


def changed_parts(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Names of the parts that differ between two fingerprints; recipe keys as recipe.KEY."""
    names = []
    for part in new:
        if part == "recipe":
            before, after = old.get("recipe") or {}, new["recipe"]
            keys = sorted(before.keys() | after.keys())
            names += [f"recipe.{key}" for key in keys if before.get(key) != after.get(key)]
        elif old.get(part) != new[part]:
            names.append(part)
    return names


def open_state(work_root: StrPath, cell: str, parts: Mapping[str, Any]) -> Path:
    """The state folder of a run; says in the log whether it goes on or starts clean, and why."""
    folder = Path(work_root) / cell / name_of(parts)
    if not folder.is_dir():
        for other in sorted(folder.parent.glob("*/fingerprint.json")):
            changed = ", ".join(changed_parts(read_json(other), parts)) or "nothing that is recorded"
            log.info("state %s is of another run (changed: %s): starting clean", other.parent, changed)
        folder.mkdir(parents=True)
    if not (folder / "fingerprint.json").is_file():
        write_json(folder / "fingerprint.json", dict(parts))
    return folder


def checkpoint_step(folder: Path) -> int:
    """Optimizer step of a checkpoint folder; -1 for any other name."""
    match = _CHECKPOINT.fullmatch(folder.name)
    return int(match.group(1)) if match else -1


def latest_checkpoint(folder: StrPath, *, clean: bool = True) -> Path | None:
    """The newest complete checkpoint; incomplete ones are removed when `clean`, else left alone."""
    complete = []
    for path in sorted(Path(folder).glob("checkpoint-*"), key=checkpoint_step):
        if (path / MARKER).is_file():
            complete.append(path)
        elif clean:
            log.info("removing %s: it was not written to its end", path)
            shutil.rmtree(path)
    return complete[-1] if complete else None


def progress(checkpoint: Path) -> dict[str, Any]:
    """What the Trainer says in a checkpoint of how far it has come: steps, epoch, tokens, log history."""
    return read_json(checkpoint / "trainer_state.json")


def is_last(checkpoint: Path) -> bool:
    """Whether a checkpoint is of the run's last step: the trained model."""
    found = progress(checkpoint)
    return found["global_step"] >= found["max_steps"]


class Interrupted(PolyAlignError):
    """Training stopped on SIGTERM after saving its state; the same command goes on from there."""

    exit_code = RETRY_CODE


class StateCallback(TrainerCallback):
    """Marks checkpoints complete and turns SIGTERM into a checkpoint and a stop after the current step."""

    def __init__(self) -> None:
        self.interrupted = False

    def _on_signal(self, number: int, frame: Any) -> None:
        log.info("signal %d: saving a checkpoint after this step", number)
        self.interrupted = True

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        try:
            self._previous = signal.signal(signal.SIGTERM, self._on_signal)
        except ValueError:  # not the main thread: whoever runs us handles signals
            self._previous = None

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self._previous is not None:
            signal.signal(signal.SIGTERM, self._previous)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if args.world_size > 1:
            # All devices stop after the same step, or those that go on would wait for the others for ever.
            flag = torch.tensor(float(self.interrupted), device=args.device)
            dist.all_reduce(flag, op=dist.ReduceOp.MAX)
            self.interrupted = bool(flag.item())
        if self.interrupted:
            control.should_save = True
            control.should_training_stop = True

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if args.world_size > 1:
            dist.barrier()  # every device has written its part
        if args.should_save:
            folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
            write_json(folder / MARKER, {"step": state.global_step})
            log.info("step %d: state saved in %s", state.global_step, folder)


class ProgressCallback(TrainerCallback):
    """One line a logging step: step, loss, learning rate, tokens per second and time left.

    A loss that is not finite ends the run: later steps would only train on its ruins.

    Args:
        evaluates: whether the model is evaluated after its last step too, before that is saved.
    """

    def __init__(self, evaluates: bool) -> None:
        self._evaluates = evaluates
        self._begun = (time.monotonic(), 0)

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._begun = (time.monotonic(), state.global_step)
        log.info("training: %d of %d steps done", state.global_step, state.max_steps)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step >= state.max_steps:
            # The last step counts, whatever log_every and eval_every are.
            control.should_log = True
            control.should_evaluate = self._evaluates

    def on_log(
        self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **kwargs: Any
    ) -> None:
        if not state.is_world_process_zero or not logs:
            return
        if "eval_loss" in logs:
            log.info("step %d/%d eval_loss %.4f", state.global_step, state.max_steps, logs["eval_loss"])
        if "loss" not in logs:
            return
        if not abs(logs["loss"]) < float("inf"):
            raise PolyAlignError(
                f"the loss is {logs['loss']} at step {state.global_step}; fix: a lower learning_rate, "
                "or precision: float32"
            )
        start, first = self._begun
        pace = (time.monotonic() - start) / max(state.global_step - first, 1)
        log.info(
            "step %d/%d loss %.4f lr %.2e tokens/s %.0f left %s",
            state.global_step,
            state.max_steps,
            logs["loss"],
            logs.get("learning_rate", 0.0),
            logs.get("train_tokens_per_second", 0.0),
            time.strftime("%H:%M:%S", time.gmtime(pace * (state.max_steps - state.global_step))),
        )


def remove_state(folder: StrPath) -> None:
    """Remove the state of a run whose checkpoint is in place, and its cell's folder when that leaves it empty."""
    shutil.rmtree(folder)
    parent = Path(folder).parent
    if not os.listdir(parent):
        parent.rmdir()
