"""The conda environments: well formed, resolvable, complete, and holding what the rules' scripts import.

The resolution asks the configured package index for metadata and installs nothing.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Set
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import yaml
from env_imports import Reach, Unit
from packaging.utils import canonicalize_name
from rattler import MatchSpec
from snakemake.api import SnakemakeApi
from snakemake.settings.types import OutputSettings, Quietness, ResourceSettings

from promptavideo.registry import KINDS

ROOT = Path(__file__).parents[1]
FILES = {path.stem: path for path in sorted((ROOT / "envs").glob("*.yaml"))}
PLATFORM = "x86_64-manylinux_2_28"
PYTHON = "3.11"

FOREIGN = {
    "open-sora": "runs another project's script with that project's versions, and none of ours",
    "vbench": "VBench wants versions that exclude ours",
}
"""Environments that share no versions with requirements.txt, and why."""

FROM_CONDA = {
    "detectron2": "detectron2",
    "numpy": "numpy",
    "pytorch-gpu": "torch",
    "torchvision": "torchvision",
}
"""Python distributions that conda lines bring, by the name of the line."""

OPTIONAL = {"vllm": "used where it is installed; docs/environments.md tells why no environment pins it"}
"""Imports that need not be there, and why."""

TOKENIZERS = {
    "protobuf": "a tokenizer that is only a SentencePiece file, as CogVideoX's, is read with it",
    "sentencepiece": "likewise",
}

OPEN_SORA = (
    "accelerate", "av", "beautifulsoup4", "colossalai", "diffusers", "einops", "ftfy", "huggingface-hub", "mmengine",
    "numpy", "pandas", "pillow", "requests", "rotary-embedding-torch", "safetensors", "timm", "torch", "torchvision",
    "tqdm", "transformers", "xformers",
)  # fmt: skip
"""What scripts/inference.py of Open-Sora v1.2.0 imports, its own modules followed."""

BY_NAME: dict[Unit, dict[str, str]] = {
    ("promptavideo.schemas", "read_table"): {"pyarrow": "pandas reads Parquet with it"},
    ("promptavideo.schemas", "write_table"): {"pyarrow": "pandas writes Parquet with it"},
    ("promptavideo.tables", "write"): {"jinja2": "pandas writes LaTeX with it", "tabulate": "pandas writes Markdown"},
    ("promptavideo.models", "_convert_gguf"): {"gguf": "transformers reads GGUF with it"},
    ("promptavideo.generators.diffusers", "DiffusersGenerator"): TOKENIZERS
    | {
        "accelerate": "offloading, and loading without a copy in memory",
        "beautifulsoup4": "PixArt and others clean prompts with it",
        "ftfy": "Wan and others clean prompts with it",
        "transformers": "text encoders",
    },
    ("promptavideo.judges.videoscore", "VideoScore"): TOKENIZERS,
    ("promptavideo.tokenization", "load_tokenizer"): TOKENIZERS,
    ("promptavideo.boosters.training", ""): {"accelerate": "the trainers run on it"},
}
"""Distributions that a part of the library needs although it does not import them, and what for."""

LOADS: dict[Unit, str] = {
    ("promptavideo.models", "fetch"): "models",
    ("promptavideo.steps.batches", "film"): "generators",
    ("promptavideo.steps.inputs", "measure_card"): "generators",
    ("promptavideo.judges", "load_judges"): "judges",
    ("promptavideo.steps.batches", "propose"): "operators",
    ("promptavideo.refiners.llm", "LlmRefinerConfig"): "operators",
    ("promptavideo.steps.batches", "refine"): "refiners",
    ("promptavideo.steps.learning", "train"): "trainers",
}
"""The parts of the library that load entries of whatever kind, and of which group."""

SOURCE_ONLY: dict[str, list[str]] = {
    "colossalai": [
        "click", "contexttimer", "einops", "fabric", "google", "ninja", "numpy", "packaging", "pre-commit", "protobuf",
        "psutil", "pydantic", "ray", "rich", "safetensors", "sentencepiece", "torch>=2.1.0", "tqdm",
        "transformers==4.36.2",
    ],
    "connection-pool": [],
    "fairscale": ["numpy>=1.22.0", "torch>=1.8.0"],
    "fvcore": ["iopath>=0.1.7", "numpy", "pillow", "pyyaml>=5.1", "tabulate", "termcolor>=1.1", "tqdm", "yacs>=0.1.6"],
    "iopath": ["portalocker", "tqdm", "typing-extensions"],
    "openai-clip": ["ftfy", "regex", "tqdm"],
    "contexttimer": [],
}  # fmt: skip
"""Packages that exist as sources only, with what they require. To ask them would be to run their build scripts."""


@dataclass(frozen=True)
class Env:
    """One environment file."""

    name: str
    conda: list[str]
    pip: list[str]

    @property
    def pins(self) -> dict[str, str]:
        """The version of each pip distribution, by canonical name."""
        return pins(self.pip)

    @property
    def from_conda(self) -> list[str]:
        """The Python distributions that its conda lines bring."""
        names = (MatchSpec(line).name.normalized for line in self.conda)
        return [FROM_CONDA[name] for name in names if name in FROM_CONDA]


@dataclass(frozen=True)
class RuleUse:
    """What a rule runs, and where."""

    rule: str
    scripts: list[str]
    envs: list[str]


def pins(lines: Iterable[str]) -> dict[str, str]:
    split = (line.split("==") for line in lines)
    return {canonicalize_name(name): version for name, version in split}


def parse(text: str, name: str) -> Env:
    """Read an environment file, and raise ValueError for anything that is not as all of them must be."""
    document = yaml.safe_load(text)
    if list(document) != ["name", "channels", "dependencies"]:
        raise ValueError(f"expected name, channels and dependencies, found {', '.join(document)}")
    if document["name"] != f"promptavideo-{name}":
        raise ValueError(f"the name should be promptavideo-{name}")
    if document["channels"] != ["conda-forge", "nodefaults"]:
        raise ValueError("the channels should be conda-forge and nodefaults")
    *conda, last = document["dependencies"]
    if not all(isinstance(line, str) for line in conda) or not isinstance(last, dict) or list(last) != ["pip"]:
        raise ValueError("expected conda lines and then one pip section")
    for line in conda:
        if MatchSpec(line, strict=True).version is None:
            raise ValueError(f"{line} pins no version")
    pinned = {MatchSpec(line).name.normalized for line in conda}
    if not {"python", "pip"} <= pinned:
        raise ValueError("python and pip should be conda lines")
    for line in last["pip"]:
        if not re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][A-Za-z0-9.]*", line):
            raise ValueError(f"{line} is not NAME==VERSION without a local version")
    if len(pins(last["pip"])) != len(last["pip"]):
        raise ValueError("a pip line stands twice")
    return Env(name, conda, last["pip"])


@cache
def env(name: str) -> Env:
    return parse(FILES[name].read_text(encoding="utf-8"), name)


@cache
def rules() -> list[RuleUse]:
    """Every rule that runs a command, as Snakemake reads it."""
    with SnakemakeApi(OutputSettings(quiet={Quietness.ALL})) as api:
        workflow = api.workflow(ResourceSettings(), snakefile=ROOT / "Snakefile", workdir=ROOT)._workflow
        return [
            RuleUse(rule.name, sorted(set(re.findall(r"scripts/\w+\.py", rule.shellcmd))), env_names(rule.conda_env))
            for rule in workflow.rules
            if rule.shellcmd or rule.script
        ]


def env_names(conda: str | Callable[..., str] | None) -> list[str]:
    """The environments that a rule's `conda:` can name; of a function, the files in its text."""
    values = conda.__code__.co_consts if callable(conda) else [conda]
    return [Path(value).stem for value in values if isinstance(value, str) and value.endswith(".yaml")]


@cache
def distributions() -> Mapping[str, list[str]]:
    """What each importable package comes from, as installed here."""
    return packages_distributions()


def needs(source: str, name: str, root: Path = ROOT) -> dict[str, str]:
    """The distributions that running a file needs, each with the place that needs it."""
    reach, done = Reach(root, "promptavideo").run(source, name), ""
    while (text := of_kinds(reach.units)) != done:
        reach.run(text, f"the registry, {len(text)}")
        done = text
    found = {}
    for module, unit in reach.found.items():
        if module not in OPTIONAL:
            for distribution in distributions().get(module, [module]):
                found[canonicalize_name(distribution)] = f"{'.'.join(filter(None, unit))} imports {module}"
    for unit in reach.units & BY_NAME.keys():
        found |= {package: f"{'.'.join(unit)}: {why}" for package, why in BY_NAME[unit].items()}
    return found


def of_kinds(units: Set[Unit]) -> str:
    """A program that does what some code does by the registry: import the modules of all kinds, and use their classes.

    Names there are texts, which `Reach` does not follow.
    """
    known = KINDS if ("promptavideo.registry", "kinds") in units else {}
    loaded = {LOADS[unit] for unit in units & LOADS.keys()}
    lines = []
    for group, places in known.items():
        for module, name in (place.split(":") for place in places.values()):
            lines += [f"import {module}", *([f"from {module} import {name}", f"use({name})"] * (group in loaded))]
    return "\n".join(lines)


def missing(used: Mapping[str, str], there: Env, user: str) -> list[str]:
    """A line of complaint for each needed distribution that an environment lacks."""
    return [
        f"envs/{there.name}.yaml lacks {package} for {user}: {why}"
        for package, why in sorted(used.items())
        if package not in {*there.pins, *there.from_conda}
    ]


def planning() -> str:
    """A program that uses everything the Snakefile and the rules import from the library."""
    texts = [path.read_text(encoding="utf-8") for path in [ROOT / "Snakefile", *sorted((ROOT / "rules").glob("*.smk"))]]
    imports = [line for text in texts for line in re.findall(r"^(?:from|import) promptavideo.*$", text, re.MULTILINE)]
    names = [name.split()[-1] for line in imports for name in line.split(" import ")[1].split(",")]
    return "\n".join([*imports, f"use({', '.join(names)})"])


def uv_settings(folder: Path) -> tuple[list[str], dict[str, str]]:
    """Options and environment of uv: pip's index, no other configuration, and what source-only packages require."""
    settings = folder / "uv.toml"
    tables = [
        f'[[dependency-metadata]]\nname = "{name}"\nrequires-dist = {json.dumps(requires)}\n'
        for name, requires in SOURCE_ONLY.items()
    ]
    settings.write_text("\n".join(tables), encoding="utf-8")
    configured = subprocess.run(
        [sys.executable, "-m", "pip", "config", "get", "global.index-url"], capture_output=True, text=True
    ).stdout.strip()
    index = os.environ.get("PIP_INDEX_URL") or configured
    options = ["--config-file", str(settings), *(["--default-index", index] if index else [])]
    options += ["--only-binary", ":all:", *(part for name in SOURCE_ONLY for part in ("--no-binary", name))]
    certificates = {"SSL_CERT_FILE": os.environ["PIP_CERT"]} if "PIP_CERT" in os.environ else {}
    return options, os.environ | certificates | {"UV_PYTHON_DOWNLOADS": "never"}


def resolve(lines: Iterable[str], cache_folder: Path, folder: Path, there: Iterable[str] = ()) -> dict[str, str]:
    """What pip would install for some lines on a 64-bit Linux machine, from metadata alone.

    Distributions that are `there` already are not asked for, nor what they need.

    Raises:
        ValueError: The lines contradict each other or name what the index does not have.
        ConnectionError: The index cannot be asked.
    """
    folder.mkdir()
    options, variables = uv_settings(folder)
    overrides = folder / "overrides.txt"
    overrides.write_text("".join(f"{name} ; sys_platform == 'never'\n" for name in there), encoding="utf-8")
    command = [sys.executable, "-m", "uv", "pip", "compile", "-", *options, "--cache-dir", str(cache_folder)]
    command += ["--python-version", PYTHON, "--python-platform", PLATFORM, "--no-header", "--no-annotate"]
    command += ["--overrides", str(overrides)]
    try:
        run = subprocess.run(
            command, input="\n".join(lines), env=variables, capture_output=True, text=True, timeout=300
        )
    except subprocess.TimeoutExpired:
        raise ConnectionError("no answer within five minutes") from None
    if run.returncode == 0:
        return pins(run.stdout.split())
    if re.search(r"error sending request|failed to fetch|timed out|dns error", run.stderr, re.IGNORECASE):
        raise ConnectionError(run.stderr)
    raise ValueError(run.stderr)


def unpinned(installed: Mapping[str, str], there: Env) -> list[str]:
    """The lines that an environment should also have, since its own pull them in."""
    return sorted(f"{package}=={version}" for package, version in installed.items() - there.pins.items())


@pytest.fixture(scope="module")
def resolved(
    pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory
) -> Iterable[dict[str, Future[dict[str, str]]]]:
    """All environments being resolved at once: the time goes into waiting for the index."""
    assert pytestconfig.cache is not None
    cache_folder, folder = pytestconfig.cache.mkdir("uv"), tmp_path_factory.mktemp("resolve")
    with ThreadPoolExecutor(len(FILES)) as pool:
        yield {
            name: pool.submit(resolve, env(name).pip, cache_folder, folder / name, env(name).from_conda)
            for name in FILES
        }


def test_there_is_one_environment_for_each_kind_of_work() -> None:
    kinds = {"workflow", "generation", "open-sora", "judges", "vbench", "booster", "browser", "demo", "report"}
    assert set(FILES) == kinds


@pytest.mark.parametrize("name", FILES)
def test_an_environment_is_well_formed(name: str) -> None:
    assert f"python={PYTHON}" in env(name).conda


@pytest.mark.parametrize("name", FILES)
def test_its_pip_lines_resolve_and_are_complete(name: str, resolved: dict[str, Future[dict[str, str]]]) -> None:
    try:
        installed = resolved[name].result()
    except ConnectionError as error:
        pytest.fail(f"the package index could not be asked, so the pip lines are not checked:\n{error}", pytrace=False)
    except ValueError as error:
        pytest.fail(f"the pip lines of envs/{name}.yaml do not resolve:\n{error}", pytrace=False)
    assert not unpinned(installed, env(name)), (
        f"envs/{name}.yaml should pin these too: {unpinned(installed, env(name))}"
    )


@pytest.mark.parametrize("name", sorted({"generation", "judges", "booster", "demo"} & set(FILES)))
def test_torch_is_the_cuda_build(name: str) -> None:
    assert "nvidia-cudnn-cu13" in env(name).pins
    assert "torch" in env(name).pins


@pytest.mark.parametrize("name", sorted(set(FILES) - set(FOREIGN)))
def test_it_agrees_with_the_requirements(name: str) -> None:
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    required = pins(line for line in lines if "==" in line and not line.startswith("#"))
    drift = {
        package: (version, required[package])
        for package, version in env(name).pins.items()
        if required.get(package, version) != version
    }
    assert not drift, f"envs/{name}.yaml and requirements.txt differ: {drift}"


def test_every_rule_names_an_environment_that_exists() -> None:
    assert len(rules()) > 10
    assert {use.rule: use.envs for use in rules() if not use.envs or not set(use.envs) <= set(FILES)} == {}


def test_every_rule_finds_what_its_script_imports() -> None:
    used = {
        script: needs((ROOT / script).read_text(encoding="utf-8"), script) for use in rules() for script in use.scripts
    }
    complaints = [
        complaint
        for use in rules()
        for script in use.scripts
        for name in use.envs
        for complaint in missing(used[script], env(name), use.rule)
    ]
    assert not complaints, "\n".join(complaints)


def test_what_is_needed_by_name_belongs_to_code_that_exists() -> None:
    for module, name in BY_NAME.keys() | LOADS.keys():
        path = ROOT.joinpath(*module.split("."))
        source = (path / "__init__.py" if path.is_dir() else path.with_suffix(".py")).read_text(encoding="utf-8")
        assert not name or re.search(rf"^(?:def|class) {name}\b", source, re.MULTILINE), f"{module} has no {name}"


def test_open_sora_finds_what_its_script_imports() -> None:
    used = needs((ROOT / "scripts/opensora_film.py").read_text(encoding="utf-8"), "opensora_film.py")
    assert "torch" in used
    complaints = missing(used | dict.fromkeys(OPEN_SORA, "Open-Sora v1.2.0 imports it"), env("open-sora"), "Open-Sora")
    assert not complaints, "\n".join(complaints)


def test_planning_finds_what_it_imports() -> None:
    used = needs(planning(), "the Snakefile")
    assert {"pydantic", "pandas"} <= set(used)
    assert "torch" not in used
    complaints = missing(used, env("workflow"), "planning")
    complaints += missing({"snakemake": "it runs the workflow"}, env("workflow"), "planning")
    assert not complaints, "\n".join(complaints)


# The checks themselves, on made-up cases that they must refuse.

GOOD = """
name: promptavideo-made-up
channels: [conda-forge, nodefaults]
dependencies:
  - python=3.11
  - pip=26.1
  - pip: [numpy==2.4.6, pandas==3.1.1]
"""


def test_a_good_file_is_read() -> None:
    assert parse(GOOD, "made-up").pins == {"numpy": "2.4.6", "pandas": "3.1.1"}


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("nodefaults", "defaults", "channels"),
        ("promptavideo-made-up", "other", "name"),
        ("  - pip=26.1\n", "", "python and pip"),
        ("python=3.11", "python", "pins no version"),
        ("python=3.11", "python=>3=", "(?i)version"),
        ("numpy==2.4.6", "numpy>=2.4", "NAME==VERSION"),
        ("numpy==2.4.6", "torch==2.13.0+cpu", "local version"),
        ("pandas==3.1.1", "NumPy==2.4.6", "twice"),
        ("- pip: [numpy==2.4.6, pandas==3.1.1]", "- numpy=2.4", "one pip section"),
    ],
)
def test_a_bad_file_is_refused(old: str, new: str, complaint: str) -> None:
    with pytest.raises(Exception, match=complaint):
        parse(GOOD.replace(old, new), "made-up")


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """A small library: loading is lazy, kinds stand in a registry, one import is optional."""
    package = tmp_path / "promptavideo"
    (package / "kinds").mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "kinds" / "__init__.py").write_text(
        "import numpy\n"
        "from promptavideo.kinds.heavy import Heavy\n"
        "KINDS = {'heavy': Heavy}\n"
        "def load(name):\n    return KINDS[name]()\n"
        "def count():\n    return len(numpy.zeros(1))\n"
    )
    (package / "kinds" / "heavy.py").write_text(
        "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    import mypy\n"
        "try:\n    import vllm\nexcept ImportError:\n    vllm = None\n"
        "class Heavy:\n    def __init__(self):\n        import torch\n"
    )
    return tmp_path


def test_a_missing_package_is_found(library: Path) -> None:
    used = needs("from promptavideo.kinds import load\nload('heavy')", "film.py", library)
    complaints = missing(used, parse(GOOD, "made-up"), "rule film")
    assert complaints == [
        "envs/made-up.yaml lacks torch for rule film: promptavideo.kinds.heavy.Heavy imports torch",
    ]


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("from promptavideo.kinds import count\ncount()", {"numpy"}),
        ("from promptavideo.kinds import load\nload('heavy')", {"numpy", "torch"}),
        ("import promptavideo.kinds as kinds\ndef main():\n    kinds.load('heavy')\nmain()", {"numpy", "torch"}),
        ("from promptavideo import kinds\nrun = print\nrun(kinds.load)", {"numpy", "torch"}),
        ("def main():\n    from promptavideo.kinds.heavy import Heavy\n    Heavy()\nmain()", {"numpy", "torch"}),
        ("def never():\n    import torch\nimport scipy.stats", {"scipy"}),
        ("import importlib\nimportlib.import_module('torch.nn')", {"torch"}),
        ("import cv2, yaml, json", {"opencv-python-headless", "pyyaml"}),
        ("import no_such_module", {"no-such-module"}),
    ],
)
def test_imports_are_followed_where_code_runs(library: Path, script: str, expected: set[str]) -> None:
    assert set(needs(script, "script.py", library)) == expected


def test_lines_that_contradict_each_other_do_not_resolve(pytestconfig: pytest.Config, tmp_path: Path) -> None:
    assert pytestconfig.cache is not None
    with pytest.raises(ValueError, match="unsatisfiable"):
        resolve(["pandas==3.1.1", "numpy==1.24.0"], pytestconfig.cache.mkdir("uv"), tmp_path / "run")


def test_lines_that_pull_in_more_are_incomplete(pytestconfig: pytest.Config, tmp_path: Path) -> None:
    assert pytestconfig.cache is not None
    made_up = parse(GOOD, "made-up")
    installed = resolve(made_up.pip, pytestconfig.cache.mkdir("uv"), tmp_path / "run")
    assert "python-dateutil" in pins(unpinned(installed, made_up))


def test_an_index_that_cannot_be_asked_is_named_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    with pytest.raises(ConnectionError):
        resolve(["numpy==2.4.6"], tmp_path / "cache", tmp_path / "run")


def test_a_rule_without_an_environment_is_found() -> None:
    assert env_names(None) == []
    assert env_names("../envs/report.yaml") == ["report"]
    assert env_names(lambda wildcards: "../envs/a.yaml" if wildcards else "../envs/b.yaml") == ["a", "b"]
