"""A real Slurm of one node, in a folder of its own, for as long as a `with` block lasts."""

import os
import secrets
import shlex
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from shutil import which
from typing import Self

PACKAGES = {"slurmctld": "slurmctld", "slurmd": "slurmd", "sbatch": "slurm-client", "munged": "munge"}
"""Debian's package of each program that the cluster needs."""

# Memory and processors are stated, not measured (config_overrides), so that jobs may ask for what they take on a real
# GPU node; only the GPUs, which are plain files here, limit how many run at a time.
SLURM_CONF = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ctld_port}
SlurmdPort={slurmd_port}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SlurmdParameters=config_overrides
MpiDefault=none
KillWait=5
MinJobAge=7200
ReturnToService=2
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
GresTypes=gpu
NodeName={host} NodeAddr=127.0.0.1 Sockets=1 CoresPerSocket=256 ThreadsPerCore=1 RealMemory=2000000 Gres=gpu:{gpus}
PartitionName=gpu Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


@dataclass(frozen=True)
class Job:
    """A job as `squeue` shows it."""

    id: int
    state: str
    comment: str
    """Rule and wildcards, as the executor plugin writes them."""
    resources: str
    """What was allocated: processors and memory."""
    gpus: str
    limit: str
    """Its time limit."""


def install() -> None:
    """Install Debian's Slurm where it is missing.

    Raises:
        RuntimeError: It is missing and cannot be installed here.
    """
    if os.geteuid() != 0:
        raise RuntimeError("the Slurm of this test runs as root: run `make test-slurm` as root, e.g. in a container")
    missing = [package for program, package in PACKAGES.items() if not which(program)]
    if not missing:
        return
    if not which("apt-get"):
        raise RuntimeError(f"{', '.join(missing)}: not installed, and there is no apt-get to install them with")
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    for arguments in (["update"], ["install", "--yes", "--no-install-recommends", *missing]):
        run = subprocess.run(["apt-get", "--quiet", *arguments], env=environment, capture_output=True, text=True)
        if run.returncode:
            raise RuntimeError(f"apt-get {' '.join(arguments)} failed:\n{run.stderr}")


class Cluster:
    """Starts munged, slurmctld and slurmd on entry; on exit cancels every job and stops them."""

    def __init__(self, folder: Path, gpus: int) -> None:
        self.folder, self.gpus = folder, gpus
        self.environment = os.environ | {
            "SLURM_CONF": str(folder / "slurm.conf"),
            "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
        }
        self._exit = ExitStack()

    def __enter__(self) -> Self:
        """Start the daemons and wait until the node takes jobs.

        Raises:
            RuntimeError: A daemon ended, or the node is not ready in time.
        """
        with ExitStack() as undo:
            undo.callback(self._end_leftovers)
            self._configure()
            munge = ["--foreground", "--force", "--key-file=munge.key", "--socket=munge.socket", "--num-threads=2"]
            files = ["--log-file=munged.log", "--pid-file=munged.pid", "--seed-file=munged.seed"]
            self._start(undo, "munged", *munge, *files)
            self._wait("munged", (self.folder / "munge.socket").exists)
            self._start(undo, "slurmctld", "-D", "-i")
            self._start(undo, "slurmd", "-D")
            self._wait("the node", lambda: self._command("sinfo", "--noheader", "--format=%t") == "idle")
            undo.callback(self._cancel_all)
            self._exit = undo.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self._exit.close()

    def jobs(self) -> list[Job]:
        """All jobs so far, in the order in which they were submitted."""
        fields = ",".join(
            f"{name}:|" for name in ("JobID", "State", "Comment", "tres-alloc", "tres-per-job", "TimeLimit")
        )
        lines = self._command("squeue", "--noheader", "--states=all", "--Format", fields).splitlines()
        rows = [line.strip().split("|") for line in lines]
        return sorted((Job(int(row[0]), *row[1:6]) for row in rows), key=lambda job: job.id)

    def cancel(self, job: Job) -> None:
        """Cancel one job, as a user or an administrator would."""
        self._command("scancel", str(job.id))

    def _configure(self) -> None:
        for name in ("state", "spool", "bin"):
            (self.folder / name).mkdir(parents=True)
        # The plugin's job step drops every SLURM_ variable before it calls srun, the place of the configuration too.
        srun = self.folder / "bin/srun"
        srun.write_text(
            f'#!/bin/sh\nSLURM_CONF={shlex.quote(self.environment["SLURM_CONF"])} exec {which("srun")} "$@"\n'
        )
        srun.chmod(0o755)
        key = self.folder / "munge.key"
        key.touch(mode=0o600)
        key.write_bytes(secrets.token_bytes(128))
        devices = [self.folder / f"gpu{number}" for number in range(self.gpus)]
        for device in devices:
            device.touch()
        ports = free_ports(2)
        (self.folder / "gres.conf").write_text("".join(f"Name=gpu File={device}\n" for device in devices))
        (self.folder / "slurm.conf").write_text(
            SLURM_CONF.format(
                host=socket.gethostname().split(".")[0],
                folder=self.folder,
                gpus=self.gpus,
                ctld_port=ports[0],
                slurmd_port=ports[1],
            )
        )

    def _start(self, undo: ExitStack, program: str, *arguments: str) -> None:
        log = undo.enter_context((self.folder / f"{program}.out").open("w"))
        process = subprocess.Popen(
            [program, *arguments], cwd=self.folder, env=self.environment, stdout=log, stderr=log, start_new_session=True
        )
        undo.callback(stop, process)

    def _command(self, *command: str) -> str:
        run = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=60)
        return run.stdout.strip()

    def _wait(self, what: str, ready: Callable[[], bool], seconds: float = 30) -> None:
        deadline = time.monotonic() + seconds
        while not ready():
            if time.monotonic() > deadline:
                logs = "\n".join(f"{path.name}:\n{path.read_text()[-2000:]}" for path in self.folder.glob("*.out"))
                raise RuntimeError(f"{what} is not ready after {seconds:.0f} s\n{logs}")
            time.sleep(0.2)

    def _cancel_all(self) -> None:
        self._command("scancel", "--full", f"--user={os.geteuid()}")
        with suppress(RuntimeError):
            self._wait("the queue", lambda: not self._command("squeue", "--noheader"), seconds=20)

    def _end_leftovers(self) -> None:
        """End what outlived the daemons: job steps, found by the configuration in their environment."""
        mark = f"SLURM_CONF={self.environment['SLURM_CONF']}".encode()
        for entry in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if int(entry.name) != os.getpid() and mark in (entry / "environ").read_bytes().split(b"\0"):
                    os.kill(int(entry.name), signal.SIGKILL)


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a daemon, by force if it does not end when asked."""
    process.terminate()
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def free_ports(count: int) -> list[int]:
    """Ports that nothing listens on."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
