"""The check of the pins for other Pythons and platforms, asked of the real index, and the check of the Python."""

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet

from promptavideo.errors import InputError
from promptavideo.pins import PLATFORMS, PYTHONS, SOURCE_ONLY, Answer, as_table, check, lacking, read_pins
from promptavideo.vbench.plan import LEFT_OUT

ROOT = Path(__file__).parents[1]
LINUX, ARM, MAC = PLATFORMS
FILES = ("requirements.txt", "requirements-demo.txt", "requirements-dev.txt", "requirements-vbench.txt")


def test_a_pin_without_a_wheel_is_named_and_the_others_are_still_asked() -> None:
    pins = ["idna==3.20", "numpy==1.26.4", "no-such-release==0", "six==99"]
    assert lacking(pins, "3.13", LINUX) == ["numpy==1.26.4", "no-such-release==0", "six==99"]
    assert lacking(["idna==3.20", "numpy==1.26.4"], "3.12", LINUX) == []
    assert lacking(["decord==0.6.0"], "3.12", LINUX) == []
    assert lacking(["decord==0.6.0"], "3.12", ARM) == lacking(["decord==0.6.0"], "3.12", MAC) == ["decord==0.6.0"]


def test_a_pin_that_the_python_of_this_check_could_not_have_is_asked_for_the_one_in_question() -> None:
    pins = ["idna==3.20", "audioop-lts==0.2.2", "six==99"]  # the second wants Python 3.13
    assert lacking(pins, "3.13", LINUX) == ["six==99"]
    assert lacking(pins, "3.12", LINUX) == ["audioop-lts==0.2.2", "six==99"]


def test_what_is_missing_fails_the_command(tmp_path: Path) -> None:
    (tmp_path / "pins.txt").write_text("# a comment\nidna==3.20\nnumpy==1.26.4\n")
    command = [sys.executable, str(ROOT / "scripts/check_pins.py"), "--root", str(tmp_path), "pins.txt", "--python"]
    good, bad = (
        subprocess.run([*command, python], capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)})
        for python in ("3.12", "3.13")
    )
    assert (good.returncode, bad.returncode) == (0, 1)
    assert "| pins.txt | 3.12 | Linux arm64 | all |" in good.stdout
    assert "| pins.txt | 3.13 | Linux arm64 | none of numpy==1.26.4 |" in bad.stdout
    assert "no wheel everywhere of numpy==1.26.4" in bad.stderr


def test_an_index_that_cannot_be_asked_is_no_missing_wheel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    for name in ("PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(InputError, match=r"could not be asked for Python 3\.12, Linux x86-64"):
        lacking(["six==1.17.0"], "3.12", LINUX)


def test_markers_are_those_of_the_python_and_platform_in_question(tmp_path: Path) -> None:
    path = tmp_path / "pins.txt"
    path.write_text(
        'a==1 ; python_version < "3.12"\nA_b==2 ; python_version >= "3.12"\n'
        'c==3 ; sys_platform == "linux" and platform_machine == "x86_64"\nd==4 ; sys_platform == "darwin"\n'
    )
    assert read_pins(path, "3.11", LINUX) == ["a==1", "c==3"]
    assert read_pins(path, "3.13", ARM) == ["a-b==2"]
    assert read_pins(path, "3.13", MAC) == ["a-b==2", "d==4"]


@pytest.mark.parametrize("line", ["numpy", "numpy>=2", "numpy==2.*", "numpy==2,<3"])
def test_a_line_that_is_no_pin_is_named(tmp_path: Path, line: str) -> None:
    (tmp_path / "pins.txt").write_text(line)
    with pytest.raises(InputError, match=r"pins\.txt: .* is no pin"):
        read_pins(tmp_path / "pins.txt", "3.12", LINUX)


def test_every_file_python_and_platform_is_asked(tmp_path: Path) -> None:
    for name in ("one.txt", "two.txt"):
        (tmp_path / name).write_text("")
    answers = check(tmp_path, ["one.txt", "two.txt"], ["3.11", "3.12"])
    assert len({(one.file, one.python, one.platform) for one in answers}) == 2 * 2 * len(PLATFORMS)
    assert as_table([Answer("x.txt", "3.11", "here", ("a==1", "b==2"))]).splitlines()[-1] == (
        "| x.txt | 3.11 | here | none of a==1, b==2 |"
    )


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("platform", PLATFORMS, ids=lambda platform: platform.name)
def test_each_package_is_pinned_once_wherever_it_is_installed(file: str, python: str, platform: object) -> None:
    assert platform in PLATFORMS
    pins = read_pins(ROOT / file, python, platform)  # type: ignore[arg-type]
    names = [pin.split("==")[0] for pin in pins]
    assert len(set(names)) == len(names) > 10
    if file == "requirements-vbench.txt":
        assert {"numpy", "torchvision", "vbench"} < set(names) and {"decord", "decord2"} & set(names)


def test_what_has_no_wheel_is_pinned() -> None:
    names = {pin.split("==")[0] for pin in read_pins(ROOT / "requirements.txt", "3.11", LINUX)}
    assert set(SOURCE_ONLY) <= names


def test_the_pythons_are_those_that_the_project_is_for() -> None:
    assert [one for one in (f"3.{minor}" for minor in range(20)) if f"{one}.0" in supported()] == list(PYTHONS)


# Which Python `make` takes


def supported() -> SpecifierSet:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return SpecifierSet(project["project"]["requires-python"])


def as_python(folder: Path, name: str, version: str, before: str = "") -> Path:
    """A command that is this Python, with another version as far as its programs can see; creates no environment."""
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    program = (
        f"import sys; sys.version_info = ({version.replace('.', ', ')}, 0); {before}\n"
        "if sys.argv[1] == '-m': sys.exit('made by ' + sys.argv[0])\n"
        "exec(compile(open(sys.argv[1]).read(), sys.argv[1], 'exec'))\n"
    )
    (folder / f"{name}.py").write_text(program)
    path.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{folder}/{name}.py" "$@"\n')
    path.chmod(0o755)
    return path


def make(folder: Path, *arguments: str, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    """What `make` does in a copy of what it needs to set an environment up."""
    (folder / "scripts").mkdir()
    for name in ("Makefile", *FILES, "scripts/check_python.py"):
        shutil.copy(ROOT / name, folder / name)
    variables = {"PATH": f"{path}:/usr/bin:/bin" if path else "/usr/bin:/bin"}
    return subprocess.run(["make", *arguments], cwd=folder, env=variables, capture_output=True, text=True)


@pytest.mark.parametrize("version", ["2.7", "3.6", "3.10", "3.11", "3.12", "3.13", "3.14", "3.15"])
def test_a_python_that_the_pins_are_not_for_is_refused_in_a_sentence(tmp_path: Path, version: str) -> None:
    python = as_python(tmp_path / "bin", "some-python", version)
    run = make(tmp_path, "reproduce", f"PYTHON={python}")
    assert run.returncode != 0 and not (tmp_path / ".venv").exists()
    if f"{version}.0" in supported():
        assert "made by" in run.stderr and "libraries are pinned" not in run.stderr
    else:
        age = "new" if version in ("3.14", "3.15") else "old"
        assert run.stderr.startswith(f"Python {version} (") and f"is too {age}: the libraries are pinned" in run.stderr
        assert "make reproduce PYTHON=python3.12" in run.stderr and "made by" not in run.stderr
        assert len(run.stderr.splitlines()) == 2  # the sentence, and make's own line


@pytest.mark.parametrize("module", ["venv", "ensurepip"])
def test_a_python_without_venv_is_refused_with_the_package_that_has_it(tmp_path: Path, module: str) -> None:
    python = as_python(tmp_path / "bin", "some-python", "3.13", f"sys.modules['{module}'] = None")
    run = make(tmp_path, "test", f"PYTHON={python}")
    assert run.returncode != 0 and "made by" not in run.stderr
    assert "lacks venv; on Debian and Ubuntu: apt install python3.13-venv" in run.stderr


def test_the_first_supported_python_is_taken(tmp_path: Path) -> None:
    for name, version in (("python3", "3.10"), ("python3.13", "3.14"), ("python3.12", "3.12"), ("python3.11", "3.11")):
        as_python(tmp_path / "bin", name, version)
    run = make(tmp_path, "test", path=tmp_path / "bin")
    assert "bin/python3.12.py" in run.stderr and "libraries are pinned" not in run.stderr


def test_without_any_supported_python_the_usual_one_is_refused(tmp_path: Path) -> None:
    for name in ("python3", "python3.13", "python3.12", "python3.11"):
        as_python(tmp_path / "bin", name, "3.10")
    run = make(tmp_path, "reproduce", path=tmp_path / "bin")
    assert run.returncode != 0 and run.stderr.startswith("Python 3.10 (")


@pytest.mark.parametrize("name", [".venv", ".venv-vbench"])
def test_an_environment_of_a_clone_that_was_renamed_or_copied_is_made_anew(tmp_path: Path, name: str) -> None:
    clone = tmp_path / "mnt/a clone"
    clone.mkdir(parents=True)

    def planned(folder: Path) -> str:
        command = ["make", "-n", f"{name}/run", "PYTHON=python3"]
        variables = {"PATH": "/usr/bin:/bin"}
        return subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, check=True).stdout

    for file in ("Makefile", *FILES):
        shutil.copy(ROOT / file, clone / file)
    assert f"python3 -m venv {name}\n" in planned(clone)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", clone / name], check=True)
    (clone / name / "run").touch()
    assert "is up to date" in planned(clone)
    shutil.copytree(clone, tmp_path / "copy", symlinks=True)
    clone.rename(tmp_path / "renamed")
    for moved in ("copy", "renamed"):
        assert f"python3 -m venv --clear {name}\n" in planned(tmp_path / moved)
    (tmp_path / "linked").mkdir()
    for file in ("Makefile", *FILES):
        shutil.copy(ROOT / file, tmp_path / "linked" / file)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "shared"], check=True)
    (tmp_path / "shared/run").touch()
    (tmp_path / "linked" / name).symlink_to(tmp_path / "shared")
    assert "is up to date" in planned(tmp_path / "linked"), "another's environment stays as it is"


def test_a_run_goes_on_without_vbench_where_its_environment_cannot_be_made(tmp_path: Path) -> None:
    python = as_python(tmp_path / "bin", "some-python", "3.12")
    for name in (".venv/run", ".venv-vbench/half-made"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    run = make(tmp_path, "vbench-if-possible", f"PYTHON={python}", "--old-file=.venv/run")
    assert run.returncode == 0 and "made by" in run.stderr
    assert run.stderr.endswith("VBench has no environment here, so this run leaves it out.\n")
    assert [path.name for path in (tmp_path / ".venv-vbench").iterdir()] == [LEFT_OUT]
