"""Start a script as several processes that train together, and tell them apart."""

import ctypes
import logging
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NoReturn

from promptavideo import terminal

LAUNCHER = "PROMPTAVIDEO_LAUNCHER"
"""Environment variable with the process id of the launcher."""
PR_SET_PDEATHSIG = 1  # <linux/prctl.h>


def processes() -> int:
    """How many processes train together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def rank() -> int:
    """This process's place among them; the first one writes."""
    return int(os.environ.get("RANK", "0"))


def started() -> bool:
    """Whether this process is one of several already (`relaunch`, `torchrun` and `accelerate launch` say so)."""
    return "WORLD_SIZE" in os.environ


def follow_launcher() -> None:
    """Be killed when the launcher ends, however it ends.

    It puts its processes into sessions of their own, so a kill of its process group would leave them training, beside
    those of the next run.
    """
    if launcher := os.environ.get(LAUNCHER):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != int(launcher):  # it ended before it could be followed
            sys.exit(1)


_held: list[object] = []


def hold(communicating: object) -> None:
    """Keep what owns a process group until the process ends, see `leave_at_once`."""
    _held.append(communicating)


@contextmanager
def leave_at_once() -> Iterator[None]:
    """End one of several processes right after its work, without tearing objects down.

    torch joins the threads of a gloo process group in its destructor while it holds the interpreter's lock, for which
    those threads may wait to drop their last tensors: on busy cores one in five trainings never ended (torch 2.13).
    """
    status = 0
    try:
        yield
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else 1
    if started():
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    sys.exit(status)


def keep_one_gpu() -> None:
    """Hide all GPUs but the first, before torch looks: transformers would else spread one process over all of them."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "0")
    os.environ["CUDA_VISIBLE_DEVICES"] = visible.split(",")[0]


def relaunch(devices: int, command: Sequence[str]) -> NoReturn:
    """Become `devices` processes of a Python script on this machine.

    Uses torch's own launcher: `accelerate launch` would start the same processes, but takes defaults for precision and
    sharding from a file in the user's home. accelerate finds the processes by the environment either way. The process
    is replaced, so that signals and the exit status need no passing on.

    Args:
        devices: Processes to start, one a device.
        command: The script and its arguments.
    """
    terminal.give_back()
    os.environ[LAUNCHER] = str(os.getpid())
    # After `--` the launcher does not take the script's options for its own.
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={devices}", "--"]
    os.execv(sys.executable, [sys.executable, *launcher, *command])
