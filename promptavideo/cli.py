"""What every script shares: logging to a file and the terminal, JSON settings, and errors as one message."""

import argparse
import errno
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError

from promptavideo import runs, terminal
from promptavideo.errors import PromptAVideoError

if TYPE_CHECKING:
    from promptavideo.study import Study


def parser(description: str | None, *names: str) -> argparse.ArgumentParser:
    """A parser with the options that every script takes.

    Args:
        description: What the script does.
        names: What it does it to: a track, a batch, ... in the order of the command.
    """
    result = argparse.ArgumentParser(description=description)
    for name in names:
        result.add_argument(name)
    result.add_argument("--config", type=Path, help="a run's resolved configuration; the last run's when absent")
    result.add_argument("--log", type=Path, help="also write the log to this file")
    return result


def study(options: argparse.Namespace) -> "Study":
    """The run whose configuration the options or the environment name."""
    from promptavideo import runfile

    return runfile.load(options.config)


def settings(kind: Any) -> Callable[[str], Any]:
    """An argparse type that reads a configuration section, or anything else that pydantic knows, from JSON."""
    adapter = TypeAdapter(kind)

    def read(text: str) -> Any:
        try:
            return adapter.validate_json(text)
        except ValidationError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return read


def step(work: Callable[..., None], description: str | None, *names: str) -> None:
    """Do a step of the run's configuration: the whole of a script whose arguments are names alone.

    Args:
        work: What does it: takes the run's `Study`, then each name.
        description: What the script does.
        names: What it does it to, in the order of the command.
    """
    run(
        parser(description, *names).parse_args(),
        lambda given: work(study(given), *(getattr(given, one) for one in names)),
    )


def say(text: str) -> None:
    """Print a result to standard output."""
    print(text, file=terminal.stream(1), flush=True)


def quiet_libraries() -> None:
    """Keep libraries from writing bars and lines of their own; to be called before they are imported."""
    # Libraries read these when they are imported, which scripts do inside `work`. Bars would fill the log.
    for switch in ("HF_HUB_DISABLE_PROGRESS_BARS", "HF_DATASETS_DISABLE_PROGRESS_BARS", "TQDM_DISABLE"):
        os.environ.setdefault(switch, "1")
    for library in ("TRANSFORMERS", "DIFFUSERS"):
        os.environ.setdefault(f"{library}_VERBOSITY", "error")
    for noisy in ("httpx", "httpx2", "openai", "diffusers", "transformers", "datasets", "accelerate"):
        logging.getLogger(noisy).setLevel(logging.ERROR)


def run(options: argparse.Namespace, work: Callable[[argparse.Namespace], None]) -> None:
    """Set logging up and do the work; an error meant for people ends the script with its message and status 1.

    With a log file, this project's lines go to it and to the terminal. What else is written, by libraries or by
    programs that they start, goes to the file alone; results are printed by `say`.
    """
    quiet_libraries()
    logging.raiseExceptions = False  # a log that a full disk does not take must not bury the message that says so
    with terminal.redirected(options.log):
        handlers: list[logging.Handler] = [logging.StreamHandler(terminal.stream(2))]
        if options.log:
            handlers.append(logging.FileHandler(options.log, encoding="utf-8"))
        logging.basicConfig(
            level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", handlers=handlers, force=True
        )
        try:
            with runs.join(options.log):
                work(options)
        except PromptAVideoError as error:
            logging.getLogger("promptavideo").error("%s: %s", type(error).__name__, error)
            sys.exit(1)
        except Exception as error:
            log = logging.getLogger("promptavideo")
            if _disk_full(error):
                log.error(
                    "%s: the disk is full. What is finished is kept: free space and run the same command again; "
                    "scripts/prune_store.py lists videos that no result names",
                    getattr(error, "filename", None) or "writing failed",
                )
            else:
                log.exception("unexpected error")
            sys.exit(1)


def _disk_full(error: Exception) -> bool:
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    # What writes checkpoints raises errors of its own; torch.save says no more than that its file is too short.
    said = str(error)
    written_short = "inline_container.cc" in said and "unexpected pos" in said
    return "No space left on device" in said or "Disk quota exceeded" in said or written_short
