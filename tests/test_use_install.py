"""The package as users install it: what it depends on, how fast its command answers, and a wheel in an environment."""

import os
import shutil
import subprocess
import sys
import sysconfig
import time
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from env_imports import Reach
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from use_boosters import finished_run

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
PINS = dict(
    line.split("==")
    for line in (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    if line and not line.startswith("#")
)
SECONDS = 0.5
"""In which `promptavideo --help` answers."""


def names(lines: list[str]) -> set[str]:
    return {canonicalize_name(Requirement(line).name) for line in lines}


@pytest.mark.parametrize("extra", ["", *EXTRAS])
def test_what_it_takes_lets_the_pinned_versions_in(extra: str) -> None:
    for line in EXTRAS[extra] if extra else PROJECT["dependencies"]:
        wanted = Requirement(line)
        if wanted.name == "promptavideo":
            assert wanted.extras <= EXTRAS.keys()
        elif wanted.name in PINS:
            assert wanted.specifier.contains(PINS[wanted.name]), line
            assert {one.operator for one in wanted.specifier} <= {">=", "<"}, line
        else:
            assert extra == "demo", f"{line}: is not in requirements.txt, so nobody tested it"


def test_it_depends_on_all_that_boost_and_export_import() -> None:
    program = """
from promptavideo.boosters.sampling import Sampler
from promptavideo.use.boost import Boost
from promptavideo.use.export import export
from promptavideo.use.source import find
use(Sampler, Boost, export, find)
"""
    found = Reach(ROOT, "promptavideo").run(program, "boost").found
    there = packages_distributions()
    used = {canonicalize_name(there[module][0]): unit for module, unit in found.items() if module != "vllm"}
    assert {one: unit for one, unit in used.items() if one not in names(PROJECT["dependencies"])} == {
        "pydantic-core": ("promptavideo.config", "")  # pydantic's own
    }


def test_all_is_all_that_a_run_takes() -> None:
    (line,) = (Requirement(one) for one in EXTRAS["all"])
    assert line.extras == EXTRAS.keys() - {"all", "demo"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built in a copy, since building leaves files beside the source."""
    folder = tmp_path_factory.mktemp("wheel")
    (folder / "source").mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy2(ROOT / name, folder / "source")
    shutil.copytree(ROOT / "promptavideo", folder / "source/promptavideo", ignore=shutil.ignore_patterns("__pycache__"))
    build = ["pip", "wheel", "--quiet", "--no-deps", "--no-index", "--no-build-isolation", "-w", "dist", "./source"]
    subprocess.run([sys.executable, "-m", *build], cwd=folder, check=True, capture_output=True)
    (made,) = (folder / "dist").glob("*.whl")
    return made


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of a fresh environment in which the wheel is installed; its dependencies are this environment's."""
    folder = tmp_path_factory.mktemp("fresh") / "env"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    (site,) = folder.glob("lib/python*/site-packages")
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    command = [sys.executable, "-m", "pip", "--python", str(folder / "bin/python"), "install", "--quiet"]
    subprocess.run([*command, "--no-deps", "--no-index", str(wheel)], check=True, env=environment())
    assert (site / "promptavideo/templates/report.html.j2").is_file()
    return folder / "bin"


def environment() -> dict[str, str]:
    """This one without the checkout."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PYTEST"))}
    return kept | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}


def run(programs: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(programs / "promptavideo"), *arguments]
    return subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True, timeout=120)


def test_a_wheel_in_a_fresh_environment_rewrites_a_prompt(installed: Path, tmp_path: Path) -> None:
    folder = finished_run(tmp_path / "run")
    (folder / "promptavideo").unlink()  # it is no checkout any more
    booster = "results/mini-t2v/boosters/dpo-2"
    (tmp_path / "elsewhere").mkdir()
    for place, options in ((folder, []), (tmp_path / "elsewhere", ["--booster", str(folder / booster)])):
        done = run(installed, place, "boost", "a red ball moves left", *options)
        assert done.returncode == 0, done.stderr[-2000:]
        assert len(done.stdout.splitlines()) == 1 and done.stdout.strip()
        assert "boost with mini-t2v/dpo-2: 1/1" in done.stderr
        assert "Warning" not in done.stderr and "Loading weights" not in done.stderr
    failed = run(installed, tmp_path / "elsewhere", "boost", "a", "--booster", "none/here/at-all")
    assert failed.returncode == 1 and failed.stdout == "" and "is neither a folder nor" in failed.stderr
    assert run(installed, tmp_path, "boost").returncode == 2
    made = run(installed, folder, "export", booster, str(tmp_path / "made"))
    assert made.returncode == 0 and made.stdout == f"{tmp_path / 'made'}\n"
    again = run(installed, tmp_path, "boost", "a red ball moves left", "--booster", "made", "--quiet")
    assert (again.returncode, again.stdout, again.stderr) == (0, done.stdout, "")


def test_help_answers_at_once(installed: Path, tmp_path: Path) -> None:
    took = []
    for _ in range(5):
        began = time.perf_counter()
        done = run(installed, tmp_path, "--help")
        took.append(time.perf_counter() - began)
        assert done.returncode == 0 and "boost" in done.stdout and "export" in done.stdout
    assert min(took) < SECONDS
    said = run(installed, tmp_path, "boost", "--help").stdout
    assert {"--booster", "--seed", "--json", "--negative", "--file", "--max-tokens-of", "--film", "--best-of"} <= {
        *said.replace(",", " ").split()
    }


def test_help_imports_nothing_heavy() -> None:
    program = "import sys; from promptavideo.use.main import parser; parser(); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    heavy = {"torch", "pandas", "numpy", "transformers", "pydantic", "cv2"}
    assert not heavy & set(done.stdout.split())


def test_who_stops_reading_stops_the_command(installed: Path, tmp_path: Path) -> None:
    folder = finished_run(tmp_path / "run")
    (tmp_path / "prompts.txt").write_text("a red ball\n" * 40)
    command = f"{installed / 'promptavideo'} boost --file {tmp_path / 'prompts.txt'} -n 3 | head -n 1"
    done = subprocess.run(
        ["bash", "-c", command], cwd=folder, env=environment(), capture_output=True, text=True, timeout=120
    )
    assert len(done.stdout.splitlines()) == 1 and "Traceback" not in done.stderr


def test_a_module_is_a_command_too(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "promptavideo", "--version"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.startswith("promptavideo 0.")
