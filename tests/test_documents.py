"""The documents work when pasted: every block and command is tried in a clone, in order, and every name is known.

What is tried is found in the documents. A block of another language, a command that no rule covers and a name that the
product does not have each fail, so that nothing new goes untried.

- A YAML block names its file in its first line, `# mine.yaml`, with `over paper.yaml` if it lies over that too and
  `continued` if it adds to the block before it. It must pass the check of a run.
- Commands in the comments of the files of settings are tried too.
- A Python block names its file likewise and is imported as a judge; one that is `run by itself` is run by
  tests/test_use_scripts.py.
- `snakemake` is planned (`-n`), `make` too; what takes seconds is run as written, the rest as `ALTERED` says.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, get_args

import pandas as pd
import pytest
import yaml
from markdown_it import MarkdownIt
from markdown_it.token import Token

from promptavideo.config import Config, check
from promptavideo.prompts import load_prompt_set
from promptavideo.registry import KINDS
from promptavideo.settings import Section, lay
from promptavideo.study import Study

pytestmark = pytest.mark.workflow

ROOT = Path(__file__).parents[1]
MARKDOWN = MarkdownIt().enable("table")
DOCUMENTS = ["README.md", *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")), "CONTRIBUTING.md"]
RELEASED = ["released-boosters.yaml", "released-pairs.yaml", "released.yaml"]
STUDIES = sorted(f"studies/{path.name}" for path in (ROOT / "studies").glob("*.yaml"))
SETTINGS = [
    "config.yaml", "paper.yaml", "authors.yaml", *RELEASED, *STUDIES, "slurm/config.yaml", "resources/generators.yaml",
]  # fmt: skip

PROGRAMS = ("snakemake", "make", "python", "pytest", "conda", "apt", "pip", "git", "srun", "sbatch", "rm", "read", ".")
"""What a command begins with, after variables that are set for it."""

PLACEHOLDERS = {
    "ADDRESS": "https://example.org/simple",
    "FILE.csv": "resources/paper/table8_vbench.csv",
    "GENERATOR": "cogvideox-5b",
    "REFINER": "glm-4",
    "RULE": "film",
    "SET": "webvid-test",
}
"""What a reader puts in place of capitals in a command."""

ALTERED = {
    "snakemake": "takes hours: is planned, with all targets of the same options at once; `plan` alone is run",
    "make": "installs, or takes hours: is expanded with -n, which makes nothing",
    "pytest": "takes minutes: only what it would run is collected, of one file where none is named",
    "python scripts/check_pins.py": "asks the package index: --help, which must name the options",
    "python scripts/headline.py": "wants a finished run: --help, which must name the options",
    "python scripts/compare.py": "wants two finished runs: --help, which must name the options",
    "python scripts/film.py": "wants a run that was started: --help, which must name the options",
    "python tests/load_study.py": "takes a minute of both cores: --help, which must name the options",
    "python scripts/study_server.py": "serves until it is stopped: --help, which must name the options",
    "conda": "is not in .venv: a stand-in answers Snakemake, and of a file asks only that it is there",
    "apt": "needs root and an index: is left out",
    ".": "activates the environment that the tests run in: is left out",
    "promptavideo": "wants a booster: its options are read (tests/test_use_boost.py has it rewrite prompts)",
    "pip": "asks the package index: is left out (tests/test_use_install.py installs a wheel)",
    "transformers": "tests/test_use_export.py starts it on an exported booster",
    "vllm": "wants a GPU: is left out",
    "ollama": "is not in .venv: is left out",
    "curl": "asks a server: tests/test_use_export.py asks one by OpenAI's client",
}
"""Commands that are not run as written, each with the reason and what is done."""

FOREIGN_OPTIONS = {
    "--delete": "scripts/prune_store.py",
    "--extra-index-url": "pip",
    "--flash-attn": "Open-Sora's script",
    "--idle-hours": "scripts/study_server.py",
    "--layernorm-kernel": "Open-Sora's script",
    "--prompts": "tests/load_study.py",
    "--think": "tests/load_study.py",
    "--token-from-env": "scripts/study_server.py",
}
"""Options that a document names apart from a command and that are not Snakemake's."""

CONDA = """#!/bin/sh
case "$*" in
  --version) echo conda 25.1.1 ;;
  "config --get channel_priority --json") echo '{"get": {"channel_priority": "strict"}}' ;;
  "info --json") echo '{"conda_prefix": "/opt/conda", "platform": "linux-64"}' ;;
  "env create "*) while [ "$1" != -f ] && [ "$1" != --file ]; do shift; done; test -f "$2" ;;
  "clean "*) ;;
  *) echo "the stand-in for conda does not know: $*" >&2; exit 1 ;;
esac
"""

LISTED = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
FILES = [
    name
    for name in subprocess.run(LISTED, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\0")
    if name and (ROOT / name).is_file()
]
"""What a clone holds."""

CONFIG = {"config.yaml": yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))}


@dataclass(frozen=True)
class Place:
    """Where in a document something is."""

    document: str
    line: int

    def __str__(self) -> str:
        return f"{self.document}:{self.line}"


@dataclass(frozen=True)
class Block:
    """A fenced block; the first line names its file."""

    place: Place
    language: str
    text: str

    def __str__(self) -> str:
        return str(self.place)

    @property
    def header(self) -> tuple[str, str]:
        """The file that the first line names, and what it says about it."""
        found = re.match(r"# (?P<file>[\w/.-]+\.(?:yaml|py))(?:, (?P<how>.+))?\n", self.text)
        assert found, f"{self.place}: the block's first line must name its file, such as `# mine.yaml`"
        return found["file"], found["how"] or ""


@dataclass(frozen=True)
class Command:
    """One command of a shell block or in a sentence."""

    place: Place
    text: str

    def __str__(self) -> str:
        return f"{self.place} {self.text}"

    @property
    def words(self) -> tuple[dict[str, str], list[str]]:
        """The variables that are set for it, and the command, with values in place of capitals."""
        words = [
            re.sub(r"\b[A-Z]+(\.csv)?\b", lambda word: PLACEHOLDERS.get(word[0], word[0]), word)
            for word in shlex.split(self.text)
        ]
        variables = {}
        while words and (found := re.fullmatch(r"([A-Z_0-9]+)=(.*)", words[0])):
            variables[found[1]] = found[2]
            words = words[1:]
        return variables, words


def is_command(text: str) -> bool:
    """Whether inline code is a command rather than a name: a program and what it is asked."""
    return bool(re.match(rf"([A-Z_0-9]+=\S+ )*({'|'.join(map(re.escape, PROGRAMS))}) \S", text))


@cache
def tokens(document: str) -> list[tuple[int, Token]]:
    """What a document is made of, each with its line, the content of paragraphs and tables one by one."""
    flat, line = [], 0
    text = (ROOT / document).read_text(encoding="utf-8")
    if document in SETTINGS:  # its comments, each in its line
        text = re.sub(r"^(.*?)(^# ?|(?<=\s)# |$)", "", text, flags=re.MULTILINE)
    for token in MARKDOWN.parse(text):
        line = token.map[0] + 1 if token.map else line
        flat += [(line, child) for child in token.children or [token]]
    return flat


def commands_of(document: str) -> Iterator[Command]:
    for line, token in tokens(document):
        lines = token.content.splitlines() if token.type in ("fence", "code_block", "code_inline") else []
        if token.info != "sh":
            lines = [text if is_command(text) else "" for text in lines]
        for place, text in enumerate(lines, line + (token.type == "fence")):
            for part in re.split(r" && |; ", re.sub(r"\s*(^|\s)#.*", "", text).strip()):
                if part:
                    yield Command(Place(document, place), part)


def blocks_of(document: str) -> Iterator[Block]:
    for line, token in tokens(document):
        if token.type in ("fence", "code_block"):
            yield Block(Place(document, line), token.info, token.content)


BLOCKS = [block for document in DOCUMENTS for block in blocks_of(document)]
COMMANDS = [command for document in DOCUMENTS + SETTINGS for command in commands_of(document)]
NAMES = [
    (Place(document, line), token.content)
    for document in DOCUMENTS
    for line, token in tokens(document)
    if token.type == "code_inline" and not is_command(token.content)
]


def layers_of(block: Block) -> dict[str, Any]:
    """What lies over config.yaml where a reader has written a block and, if it continues, those before it."""
    file, how = block.header
    below = re.findall(r"[\w-]+\.yaml", how)
    above = [block]
    while above[0].header[1] == "continued":
        earlier = [one for one in BLOCKS[: BLOCKS.index(above[0])] if one.language == "yaml" and one.header[0] == file]
        above.insert(0, earlier[-1])
    assert above[0].place.document == block.place.document
    return {
        **CONFIG,
        **{name: yaml.safe_load((ROOT / name).read_text(encoding="utf-8")) for name in below},
        **{str(one.place): yaml.safe_load(one.text) for one in above},
    }


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a reader has cloned, with the files that documents ask for and folders that a run leaves."""
    folder = tmp_path_factory.mktemp("clone") / "prompt-a-video"
    for name in FILES:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, folder / name)
    prompts = [f"A cat walks along wall number {number} at night" for number in range(500)]
    (folder / "my-prompts.txt").write_text("\n".join(prompts))
    (folder / "my").mkdir()
    pd.DataFrame({"text": prompts}).to_csv(folder / "my/prompts.csv")
    heldout = load_prompt_set("heldout", check(lay(CONFIG)[0], ROOT).prompt_sets["heldout"], ROOT)
    heldout.assign(refined=heldout["prompt"] + " in the evening").to_csv(folder / "my/pae.csv")
    (folder / "store/chat/answers").mkdir(parents=True)
    conda = folder.parent / "bin/conda"
    conda.parent.mkdir()
    conda.write_text(CONDA)
    conda.chmod(0o755)
    return folder


def run(folder: Path, words: list[str], **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a command as a reader in an activated environment would."""
    environment = {name: value for name, value in os.environ.items() if not re.match("PYTHONPATH|PYTEST|MAKE", name)}
    environment["PATH"] = f"{folder.parent / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    return subprocess.run(
        words, cwd=folder, env=environment | variables, capture_output=True, text=True, timeout=300, input="secret\n"
    )


def succeeds(folder: Path, words: list[str], **variables: str) -> str:
    done = run(folder, words, **variables)
    assert done.returncode == 0, f"{shlex.join(words)}\n{done.stdout[-1500:]}\n{done.stderr[-3000:]}"
    return done.stdout


def text_of(layers: Mapping[str, Any]) -> str:
    """What a file of these layers says."""
    return yaml.safe_dump(lay(layers)[0], sort_keys=False)


def named(cases: Iterable[Any]) -> dict[str, Any]:
    """Parameters of a test with what each is called."""
    return {"argvalues": list(cases), "ids": str}


@pytest.mark.parametrize("block", **named(block for block in BLOCKS if block.language == "yaml"))
def test_a_yaml_block_is_accepted(block: Block, clone: Path) -> None:
    file, _ = block.header
    if file == "mine.yaml":
        raw, origins = lay(layers_of(block))
        _ = Study(check(raw, clone, origins), clone).vbench
        return
    before = (clone / file).read_text()
    (clone / file).write_text(text_of({file: yaml.safe_load(before), "block": yaml.safe_load(block.text)}))
    first, *_ = (one for one in COMMANDS if one.place.document == block.place.document and "--profile" in one.text)
    succeeds(clone, [*first.words[1], "-n"])
    (clone / file).write_text(before)


@pytest.mark.parametrize("scale", ["config.yaml", "paper.yaml"])
def test_settings_in_a_sentence_are_accepted(scale: str) -> None:
    """Those that begin with a section of the configuration, or a key beside them."""
    below = CONFIG | {scale: yaml.safe_load((ROOT / scale).read_text(encoding="utf-8"))}
    tried = 0
    for place, text in NAMES:
        key, _, value = text.partition(": ")
        if key in Config.model_fields and value:
            raw, origins = lay(below | {str(place): yaml.safe_load(text)})
            check(raw, ROOT, origins)
            tried += 1
    assert tried


JUDGES = [block for block in BLOCKS if block.language == "python" and block.header[1] != "run by itself"]


@pytest.mark.parametrize("block", **named(JUDGES))
def test_a_python_block_is_a_judge_once_it_is_registered_as_the_document_says(block: Block, clone: Path) -> None:
    file, _ = block.header
    (clone / file).write_text(block.text)
    (line,) = (one.content for document, one in python_lines() if document == block.place.document)
    registry = clone / "promptavideo/registry.py"
    before = registry.read_text()
    assert before.count('"judges": {\n') == 1
    registry.write_text(before.replace('"judges": {\n', f'"judges": {{\n{line},\n'))
    (clone / "mine.yaml").write_text("judges: {aesthetic: null, brightness: {kind: brightness}}\n")
    judged = """
import numpy, pathlib, yaml
from promptavideo.config import check
from promptavideo.judges import load_judges
from promptavideo.settings import lay
from promptavideo.video import Clip
files = ["config.yaml", "paper.yaml", "mine.yaml"]
config = check(lay({file: yaml.safe_load(pathlib.Path(file).read_text()) for file in files})[0], pathlib.Path())
(judge,) = load_judges({"brightness": config.judges["brightness"]}).values()
clips = [Clip(numpy.full((2, 4, 4, 3), value, numpy.uint8), 8.0) for value in (0, 255)]
assert judge.score(clips, ["dark", "bright"]) == [{"AES": 0.0}, {"AES": 10.0}]
"""
    succeeds(clone, ["python", "-c", judged])
    registry.write_text(before)


def python_lines() -> Iterator[tuple[str, Token]]:
    """Inline code that is a line of `registry.KINDS`."""
    for document in DOCUMENTS:
        for _, token in tokens(document):
            if token.type == "code_inline" and re.fullmatch(r'"[\w-]+": "promptavideo\.[\w.]+:\w+"', token.content):
                yield document, token


def test_every_block_is_tried() -> None:
    for block in BLOCKS:
        assert block.language in ("yaml", "python", "sh", "mermaid", ""), (
            f"{block.place}: no rule tries {block.language}"
        )


SNAKEMAKE = [command for command in COMMANDS if command.words[1][0] == "snakemake"]


@cache
def parsed(command: Command, *more: str) -> list[str]:
    """The targets of a Snakemake command."""
    from snakemake.cli import get_argument_parser

    return sorted(get_argument_parser().parse_args([*command.words[1][1:], *more]).targets)


def options_of(command: Command) -> str:
    """All else that decides what a Snakemake command plans."""
    words = [word for word in command.words[1] if word not in parsed(command)]
    return re.sub(r" (--cores \w+|-n|--dry-run|--quiet=\w+)(?= |$)", "", shlex.join(words))


def mine_of(command: Command) -> str:
    """What a reader has in mine.yaml when a command is given: the last block before it, or else the next."""
    if "mine.yaml" not in command.text:
        return ""
    own = [one for one in blocks_of(command.place.document) if one.language == "yaml" and one.header[0] == "mine.yaml"]
    block = [one for one in own if one.place.line < command.place.line][-1:] or own[:1]
    assert block, f"{command.place}: no block says what mine.yaml holds"
    return text_of(
        {name: layer for name, layer in layers_of(block[0]).items() if name.startswith(block[0].place.document)}
    )


@pytest.mark.parametrize("command", **named(SNAKEMAKE))
def test_a_target_may_be_added_at_the_end_of_a_snakemake_command(command: Command) -> None:
    """Options that take several values would swallow it."""
    assert parsed(command, "TARGET") == sorted([*parsed(command), "TARGET"])


@pytest.fixture(scope="module")
def planned(clone: Path) -> Callable[[Command], str]:
    """Plan a command together with all that differ from it in their targets only; say what is wrong, if anything."""
    said: dict[tuple[str, str], str] = {}
    targets = defaultdict(set)
    for command in SNAKEMAKE:
        targets[options_of(command), mine_of(command)].update(parsed(command) or ["all"])

    def plan(command: Command) -> str:
        group = options, mine = options_of(command), mine_of(command)
        if group not in said:
            (clone / "mine.yaml").write_text(mine)
            dry = [] if targets[group] == {"plan"} else ["-n"]
            done = run(clone, [*shlex.split(options), "--cores", "1", *sorted(targets[group]), *dry])
            said[group] = (
                f"{shlex.join(done.args)}\n{done.stdout[-500:]}{done.stderr[-3000:]}" if done.returncode else ""
            )
        return said[group]

    return plan


@pytest.mark.parametrize("command", **named(COMMANDS))
def test_a_command_does_what_the_document_says(
    command: Command, clone: Path, planned: Callable[[Command], str]
) -> None:
    variables, words = command.words
    match words:
        case ["snakemake", *options]:
            if options != parsed(command):  # else a sentence names a target
                assert {"--cores", "--profile", "-n"} & set(options), "Snakemake wants to be told the cores"
            assert planned(command) == ""
        case ["make", *targets]:
            succeeds(clone, ["make", "-n", *targets], **variables)
        case ["pytest", *options]:
            one = [] if any("/" in option for option in options) else ["tests/test_files.py"]
            collected = succeeds(clone, ["pytest", "--collect-only", "--noconftest", "-q", *options, *one], **variables)
            assert "no tests collected" not in collected
            earlier = [
                one.text for one in COMMANDS[: COMMANDS.index(command)] if one.place.document == command.place.document
            ]
            assert {"make test", "make .venv/dev"} & set(earlier), "pytest is not in a user's environment"
        case ["python", script, *options]:
            if f"python {script}" in ALTERED:
                helped = succeeds(clone, ["python", script, "--help"], **variables)
                assert {option for option in options if option.startswith("--")} <= set(re.findall(r"--[\w-]+", helped))
            else:
                succeeds(clone, words, **variables)
        case ["promptavideo", *options]:
            from promptavideo.use.main import parser

            parser().parse_args(options)
        case ["conda" | "rm" | "read" | "export", *_]:
            succeeds(clone, ["bash", "-c", command.text], **variables)
        case [name, *_]:
            assert name in ALTERED, f"{command.place}: no rule tries {name}"


def test_the_scale_of_the_tests_has_its_model_by_the_command_before_it(clone: Path) -> None:
    command, *_ = (one for one in COMMANDS if "tests/tiny.py" in one.text)
    variables, words = command.words
    succeeds(clone, words, **variables)
    assert COMMANDS[COMMANDS.index(command) + 1].text.startswith("snakemake --configfile tests/smoke.yaml ")
    models = yaml.safe_load((clone / "tests/smoke.yaml").read_text())["models"]
    assert all((clone / model["path"] / "config.json").is_file() for model in models.values() if model)


def test_what_is_altered_is_in_the_documents() -> None:
    for name in ALTERED:
        assert any(f"{shlex.join(command.words[1])} ".startswith(f"{name} ") for command in COMMANDS), name


def test_the_dag_is_that_of_the_rules_and_stays_where_it_cannot_be_drawn(clone: Path) -> None:
    drawn = (clone / "docs/dag.md").read_text()
    succeeds(clone, ["make", "--old-file", ".venv/run", "dag"])
    assert (clone / "docs/dag.md").read_text() == drawn, "after a change of the rules `make dag` draws it again"
    snakefile = (clone / "Snakefile").read_text()
    (clone / "Snakefile").write_text("refuse(\n")
    assert run(clone, ["make", "--old-file", ".venv/run", "dag"]).returncode
    (clone / "Snakefile").write_text(snakefile)
    assert (clone / "docs/dag.md").read_text() == drawn


CODE = {
    name: (ROOT / name).read_text(encoding="utf-8")
    for name in FILES
    if Path(name).suffix in (".py", ".smk", ".yaml", ".toml", ".txt", "") and name != "tests/test_documents.py"
}
WORDS = {word for text in CODE.values() for word in re.findall(r"\w+", text)}
RULES = {rule for text in CODE.values() for rule in re.findall(r"^rule (\w+):", text, re.MULTILINE)}
FOREIGN = {
    **dict.fromkeys(("CLASS", "DIGEST", "NAME_ci_low", "NAME_ci_high"), "placeholders"),
    **dict.fromkeys(("tmux", ".snakemake/slurm_logs", "OUT_OF_MEMORY", "Could", "establish"), "Slurm's, or of its use"),
    "cu126": "a build of torch",
    **dict.fromkeys(("srun", "conda"), "messages"),
    **dict.fromkeys(("gpu", "rerun-triggers", "slurm-status-command"), "keys of profiles"),
    "finish_reason": "an endpoint's",
    **dict.fromkeys(("T2V_REWRITE_BASE_URL", "T2V_REWRITE_MODEL_NAME"), "HunyuanVideo 1.5's"),
    "scripts/inference.py": "Open-Sora's",
}
"""What is in code type and not the product's."""
FILE = re.compile(r"(?!</)(?=.*\w)[\w./{},*-]*(/[\w./{},*-]*|\.(py|yaml|txt|jsonl?|csv|parquet|png|md|html))")
KEY = re.compile(r"(?P<key>[a-z_]+(\.[a-z_]+)+)(: .*)?")


def sections(section: type[Section] = Section) -> Iterator[type[Section]]:
    """Every section of the configuration."""
    yield section
    for below in section.__subclasses__():
        yield from sections(below)


FIELDS = {field.alias or name for section in sections() for name, field in section.model_fields.items()} | {"like"}


def is_link(document: str, address: str) -> bool:
    """Whether a file is there, and a heading of the named text in it."""
    path, _, anchor = address.partition("#")
    target = (ROOT / document).parent / path if path else ROOT / document
    if not anchor:
        return target.exists()
    heads = re.findall(r"^#+ (.+)$", target.read_text(encoding="utf-8"), re.MULTILINE)
    return anchor in {re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads}


def is_file(path: str) -> bool:
    """Whether a clone holds a path, of which a document may give the end only; or else code writes such a file."""
    if listed := re.search(r"\{([^{}]*,[^{}]*)\}", path):
        return all(is_file(path.replace(listed[0], one, 1)) for one in listed[1].split(","))
    fixed = re.split(r"\{\w+\}|\b(?:[A-Z]{2,}|N)\b|\*|\.\.\.", path.strip("/"))
    held = re.compile(rf"(.*/)?{'[^/]+'.join(map(re.escape, fixed))}(/.*)?")
    if any(held.fullmatch(name) for name in FILES):
        return True
    if Path(path).parts[0] in {"docs", "envs", "profiles", "promptavideo", "rules", "scripts", "templates", "tests"}:
        return False
    last = next(part for part in reversed(fixed) if part.strip("/")).rpartition("/")[2]
    stem, dot, _ = last.rpartition(".")  # a table is written in several formats by one line of code
    return any((stem + dot or last) in text for text in CODE.values())


def is_key(dotted: str) -> bool:
    """Whether a section has such a key, or the library such a name."""
    if dotted in {f"promptavideo.{group}" for group in KINDS}:  # where another package registers its kinds
        return True
    first, *rest = dotted.split(".")
    found = {section.model_fields[first].annotation for section in sections() if first in section.model_fields}
    for name in rest:
        inside = {kind for one in found for kind in kinds(one)}
        found = {kind.model_fields[name].annotation for kind in inside if name in kind.model_fields}
    if found:
        return True
    *module, name = dotted.removeprefix("promptavideo.").split(".")
    return any(
        re.search(rf"^\s*(def|class) {name}\b|^{name}\b", text, re.MULTILINE)
        for file, text in CODE.items()
        if file == f"promptavideo/{'/'.join(module)}.py" or f"class {module[-1]}(" in text
    )


def kinds(annotation: Any) -> Iterator[type[Section]]:
    """The sections that a key's type is made of."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        yield annotation
    for part in get_args(annotation):
        yield from kinds(part)


def columns(document: str) -> Iterator[tuple[Place, str, str]]:
    """The names in tables, each with the head of its column."""
    heads: list[str] = []
    column = line = 0
    for token in MARKDOWN.parse((ROOT / document).read_text(encoding="utf-8")):
        line = token.map[0] + 1 if token.map else line
        if token.type == "table_open":
            heads = []
        elif token.type == "tr_open":
            column = 0
        elif token.type in ("th_open", "td_open"):
            column += 1
        elif token.type == "inline" and column > len(heads):
            heads.append(token.content)
        elif token.type == "inline" and heads:
            names = [one.content for one in token.children or [] if one.type == "code_inline"]
            yield from ((Place(document, line), heads[column - 1], name) for name in names)
        elif token.type == "table_close":
            heads, column = [], 0


@cache
def own_options() -> frozenset[str]:
    """Options of the command `promptavideo`."""
    from promptavideo.use.main import parser

    commands = [action.choices for action in parser()._actions if isinstance(action.choices, dict)]
    return frozenset(option for found in commands for one in found.values() for option in one._option_string_actions)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_what_a_document_names_is_there(document: str) -> None:
    from snakemake.cli import get_argument_parser

    wrong = [
        f"{document}:{line}: no link to {address}"
        for line, token in tokens(document)
        for address in [str(token.attrs.get("href", token.attrs.get("src", "")))]
        if address and "://" not in address and not is_link(document, address)
    ]
    wrong += [
        f"{document}:{line}: a row apart from its table"
        for line, token in tokens(document)
        if token.type == "text" and token.content.startswith("|")
    ]
    for place, text in (one for one in NAMES if one[0].document == document):
        if re.match(r"--?\w", text):
            known = FOREIGN_OPTIONS.keys() | get_argument_parser()._option_string_actions.keys() | own_options()
            unknown = set(re.findall(r"(?<!\S)--?[a-z][\w-]*", text)) - known
            wrong += [f"{place}: there is no option {option}" for option in sorted(unknown)]
            continue
        if FILE.fullmatch(text):
            if text not in FOREIGN and not is_file(text):
                wrong.append(f"{place}: no file {text}")
            continue
        if (found := KEY.fullmatch(text)) and not is_key(found["key"]):
            wrong.append(f"{place}: no key {found['key']}")
        elif (found := re.fullmatch(r"([a-z_-]+): \S.*", text)) and found[1] not in FIELDS | FOREIGN.keys():
            wrong.append(f"{place}: no key {found[1]}")
        if ": " in text:  # what a key is set to is an example
            continue
        unknown = set(re.findall(r"\b[A-Za-z_]\w+", text)) - WORDS - FOREIGN.keys()
        wrong += [f"{place}: nothing in the code is called {word}" for word in sorted(unknown)]
    for place, head, text in columns(document):
        if head == "rules" and text not in RULES:
            wrong.append(f"{place}: no rule {text}")
        if re.match(r"key\b", head) and not re.search(r"[.:]", text) and text not in FIELDS:
            wrong.append(f"{place}: no key {text}")
    assert not wrong, "\n".join(wrong)


def test_names_that_are_not_there_are_found() -> None:
    assert is_file("results/tables/videoscore.{csv,md,tex}") and not is_file("results/tables/videoscores.{csv,md}")
    assert is_file("promptavideo/judges/NAME.py") and not is_file("promptavideo/reward/NAME.py")
    assert is_key("preference.best_worst.weights") and not is_key("preference.best.weights")
    assert is_key("cli.say") and not is_key("cli.tell")
    assert is_link("README.md", "docs/architecture.md#the-store") and not is_link("README.md", "docs/dag.md#the-store")
