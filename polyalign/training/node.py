"""Accelerate's launcher on one node of several, started there by `srun` (`polyalign.training.launch`).

srun --nodes=2 --ntasks=2 --ntasks-per-node=1 python -m polyalign.training.node --num_machines 2 ...
"""

import os
import sys


def main() -> None:
    """Replace this process by the launcher, told which of the nodes this is."""
    command = [
        sys.executable,
        "-m",
        "accelerate.commands.launch",
        "--machine_rank",
        os.environ["SLURM_NODEID"],
    ]
    os.execv(command[0], [*command, *sys.argv[1:]])


if __name__ == "__main__":
    main()
