"""Whether the pins of requirements*.txt are there as wheels, for each Python and platform; nothing is installed."""

import os
import re
import subprocess
import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from promptavideo.errors import InputError


@dataclass(frozen=True)
class Platform:
    """A kind of machine: what environment markers say of it, and the tags of the wheels that it takes."""

    name: str
    system: str
    machine: str
    tags: tuple[str, ...]


def _linux(machine: str) -> tuple[str, ...]:
    """The tags for glibc 2.28 and later."""
    return tuple(f"manylinux{old}_{machine}" for old in ("_2_28", "_2_27", "_2_26", "_2_24", "_2_17", "2014", "2010"))


PLATFORMS = (
    Platform("Linux x86-64", "linux", "x86_64", (*_linux("x86_64"), "manylinux_2_5_x86_64", "manylinux1_x86_64")),
    Platform("Linux arm64", "linux", "aarch64", _linux("aarch64")),
    Platform("macOS 14 arm64", "darwin", "arm64", ("macosx_14_0_arm64", "macosx_14_0_universal2")),
)

PYTHONS = ("3.11", "3.12", "3.13")
"""Those of requires-python in pyproject.toml."""

SOURCE_ONLY = ("connection-pool",)
"""Pins without a wheel: pure Python, which pip builds in seconds and without a compiler."""


@dataclass(frozen=True)
class Answer:
    """What pip said of one file for one Python and platform: the pins that it found no wheel of."""

    file: str
    python: str
    platform: str
    lacking: tuple[str, ...]


def read_pins(path: Path, python: str, platform: Platform) -> list[str]:
    """The lines NAME==VERSION of a file whose markers hold; pip itself would ask them of the Python that it runs in.

    Raises:
        InputError: A line is no pin.
    """
    markers = {
        "python_version": python,
        "python_full_version": f"{python}.0",
        "sys_platform": platform.system,
        "platform_machine": platform.machine,
    }
    pins = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        requirement = Requirement(line)
        if not re.fullmatch(r"==[^*,]+", str(requirement.specifier)):
            raise InputError(f"{path}: {line!r} is no pin; write NAME==VERSION")
        if requirement.marker is None or requirement.marker.evaluate(markers):
            pins.append(f"{canonicalize_name(requirement.name)}{requirement.specifier}")
    return pins


def lacking(pins: Sequence[str], python: str, platform: Platform) -> list[str]:
    """The pins that pip's index has no wheel of.

    Raises:
        InputError: The index cannot be asked, or pip fails in another way.
    """
    left = [pin for pin in pins if pin.split("==")[0] not in SOURCE_ONLY]
    found = []
    while left and (said := _ask(left, python, platform)) is not None:
        # pip compares the Python that a wheel wants with its own, once it has chosen the wheel for the one in question.
        if other := re.search(r"Package '(\S+)' requires a different Python", said):
            pin = next(one for one in left if one.split("==")[0] == other[1])
            left.remove(pin)
            said = _ask([pin], python, platform, "--ignore-requires-python")
            if said is None:
                continue
            left.append(pin)
        named = re.search(r"(?:No matching distribution found for|Cannot install) (\S+==\S+)", said)
        if re.search(r"Retrying|ConnectionError|timed out", said) or named is None or named[1] not in left:
            raise InputError(f"the package index could not be asked for Python {python}, {platform.name}:\n{said}")
        found.append(named[1])
        left.remove(named[1])
    return found


def check(root: Path, files: Iterable[str], pythons: Iterable[str]) -> list[Answer]:
    """Ask for every file, Python and platform, as many at once as there are processors."""
    asked = [(file, python, platform) for file in files for python in pythons for platform in PLATFORMS]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        answers = pool.map(lambda one: lacking(read_pins(root / one[0], *one[1:]), *one[1:]), asked)
        return [
            Answer(file, python, platform.name, tuple(pins))
            for (file, python, platform), pins in zip(asked, answers, strict=True)
        ]


def as_table(answers: Iterable[Answer]) -> str:
    """The answers in Markdown."""
    lines = ["| file | Python | platform | wheels |", "|---|---|---|---|"]
    for one in answers:
        found = f"none of {', '.join(one.lacking)}" if one.lacking else "all"
        lines.append(f"| {one.file} | {one.python} | {one.platform} | {found} |")
    return "\n".join(lines)


def _ask(pins: Sequence[str], python: str, platform: Platform, *options: str) -> str | None:
    """What pip complains of, if it does."""
    with TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "install", "--dry-run", "--no-deps", "--only-binary", ":all:"]
        command += ["--python-version", python, "--implementation", "cp", "--target", folder, "--quiet"]
        command += [part for tag in platform.tags for part in ("--platform", tag)]
        run = subprocess.run([*command, *options, *pins], capture_output=True, text=True)
    return run.stderr if run.returncode else None
