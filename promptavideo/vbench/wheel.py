"""VBench's list of prompts, read out of the package's wheel without installing it."""

import csv
import hashlib
import json
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from promptavideo.errors import InputError
from promptavideo.files import write_text

MEMBER = "vbench/VBench_full_info.json"
PIP_SECONDS = 600


def read_list(version: str, digest: str) -> list[dict[str, Any]]:
    """VBench's list of prompts as its wheel on PyPI holds it.

    Its dependencies clash with those of this project and are not looked at: pip only downloads the one file, from
    whichever index it is set up with, and refuses any other content than the expected.

    Args:
        version: Of vbench.
        digest: SHA-256 of the wheel.

    Raises:
        InputError: The wheel cannot be fetched, is another one, or holds no such list.
    """
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "requirements.txt").write_text(f"vbench=={version} --hash=sha256:{digest}\n", encoding="utf-8")
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        command += ["--only-binary", ":all:", "--require-hashes", "--dest", str(folder)]
        command += ["--requirement", str(folder / "requirements.txt")]
        try:
            subprocess.run(command, capture_output=True, text=True, check=True, timeout=PIP_SECONDS)
        except (OSError, subprocess.SubprocessError) as error:
            said = (getattr(error, "stderr", None) or str(error)).strip()[-500:]
            raise InputError(
                f"vbench.version, vbench.sha256: pip cannot download the wheel of vbench {version} with that digest "
                f"({said}); check both, and the network"
            ) from error
        (wheel,) = folder.glob("*.whl")
        return _list(wheel, digest)


def choose(rows: Sequence[dict[str, Any]], indices: Path) -> list[dict[str, Any]]:
    """The rows at the places that a table names (tab-separated, column `vbench_index`), in the order of the list.

    Raises:
        InputError: The table is missing or names places that are not there.
    """
    try:
        with indices.open(newline="", encoding="utf-8") as stream:
            places = {int(record["vbench_index"]) for record in csv.DictReader(stream, delimiter="\t")}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"vbench.subset: {indices} has no numbers in a column vbench_index ({error})") from error
    wrong = sorted(places - set(range(len(rows))))
    if not places:
        raise InputError(f"vbench.subset: {indices} names no places of VBench's list")
    if wrong:
        raise InputError(
            f"vbench.subset: {indices} names the places {wrong[:3]}; VBench's list has 0 to {len(rows) - 1}"
        )
    return [row for row in rows if row["row"] in places]


def write_rows(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Write rows as JSON lines."""
    write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def _list(wheel: Path, digest: str) -> list[dict[str, Any]]:
    data = wheel.read_bytes()
    found = hashlib.sha256(data).hexdigest()
    if found != digest:  # pip has compared it already, unless somebody's settings keep it from that
        raise InputError(f"vbench.sha256: {wheel.name} has {found}, expected {digest}")
    try:
        with zipfile.ZipFile(wheel) as archive:
            rows = json.loads(archive.read(MEMBER))
        return [{"row": place, **row} for place, row in enumerate(rows)]
    except (zipfile.BadZipFile, KeyError, ValueError, TypeError) as error:
        raise InputError(f"vbench.version: {wheel.name} holds no list of prompts at {MEMBER} ({error})") from error
