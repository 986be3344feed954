"""Records what each job of a run reads of the results, in every Python whose path has this folder."""

import os
import sys

ARGUMENTS = sys.orig_argv


def record(event: str, arguments: tuple[object, ...]) -> None:
    """Add a line to the file that `RECORD_READS` names: the job's log and what it opens to read."""
    if event != "open" or not isinstance(arguments[0], str | os.PathLike) or "r" not in str(arguments[1]):
        return
    path = os.path.relpath(os.fspath(arguments[0]))
    if path.startswith("results/"):
        os.write(RECORD, f"{JOB}\t{path}\n".encode())


if "RECORD_READS" in os.environ and "--log" in ARGUMENTS:
    JOB = ARGUMENTS[ARGUMENTS.index("--log") + 1]
    RECORD = os.open(os.environ["RECORD_READS"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    sys.addaudithook(record)
