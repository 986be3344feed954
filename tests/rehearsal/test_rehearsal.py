"""paper.yaml on stand-ins for its models: from captions to both generators' tables, killed three times on the way."""

import fcntl
import hashlib
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import stand_ins
import yaml
from chat_server import Answer, Asked, ChatServer, says

from promptavideo.settings import lay

ROOT = Path(__file__).parents[2]
LANGUAGE_MODEL = "resources/models/smollm2-135m"
LAYERS = ("paper.yaml", "overlay.yaml", "addresses.yaml")
KEYS = {"ZHIPUAI_API_KEY": "rehearsal", "OPENAI_API_KEY": "rehearsal"}
WORDS = ("soft morning light", "slow pan", "sharp details", "deep colours", "steady camera", "calm water", "wide view")


def operate(asked: Asked) -> Answer:
    """Three variants in the form that the evolution's instruction asks for, which no small language model keeps."""
    draws = hashlib.sha256(f"{asked.attempt} {asked.message}".encode()).digest()  # asked again, it says something else
    picked = [[WORDS[one % len(WORDS)] for one in draws[place : place + 4]] for place in (0, 4, 8)]
    texts = (f"A river in {words[0]}, with {words[1]}, {words[2]} and {words[3]}." for words in picked)
    return says("\n".join(f"<PROMPT>{text}</PROMPT>" for text in texts))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone with the stand-ins."""
    folder = tmp_path_factory.mktemp("rehearsal") / "clone"
    subprocess.run(["git", "clone", "--quiet", ROOT, folder], check=True)
    for name in (".venv", ".venv-vbench"):
        (folder / name).symlink_to(ROOT / name)
    (folder / "overlay.yaml").symlink_to(ROOT / "tests/rehearsal/overlay.yaml")
    stand_ins.make(folder / "stand-ins")
    stand_ins.open_sora(folder / "external/Open-Sora")
    return folder


def environment(folder: Path) -> dict[str, str]:
    path = f"{folder / 'stand-ins/bin'}:{ROOT / '.venv/bin'}:{os.environ['PATH']}"
    places = f"{folder}:{ROOT / 'tests/rehearsal/reads'}"
    recorded = {"PYTHONPATH": places, "RECORD_READS": str(folder / "reads.tsv")}
    return {**os.environ, **KEYS, "PATH": path, **recorded, "HF_HUB_OFFLINE": "1"}


def command(*arguments: str, more: tuple[str, ...] = ()) -> list[str]:
    return ["snakemake", "--quiet", "rules", "--cores", "2", *arguments, "--configfile", *LAYERS, *more]


def snakemake(folder: Path, *arguments: str, more: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    run = subprocess.run(
        command(*arguments, more=more),
        cwd=folder,
        env=environment(folder),
        capture_output=True,
        text=True,
        timeout=1800,
    )
    assert run.returncode == 0, run.stderr[-5000:]
    return run


def jobs(folder: Path, *arguments: str, more: tuple[str, ...] = ()) -> dict[str, int]:
    """How many jobs of each rule a run would run."""
    said = snakemake(folder, "--dry-run", *arguments, more=more)
    found = re.findall(r"^(\w+)\s+(\d+)$", said.stdout + said.stderr, re.MULTILINE)
    return {rule: int(count) for rule, count in found}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def endpoints(folder: Path) -> Iterator[ChatServer]:
    """The operators' endpoint, and the LLM refiner's: transformers' own server with the laptop's language model."""
    addresses: dict[str, Any] = stand_ins.addresses(folder / "stand-ins")
    port = free_port()
    with ChatServer(operate) as server, (folder / "serve.log").open("wb") as log:
        addresses["operators"] = {
            "gpt-4o": {"base_url": server.base_url},
            "glm-4": {"base_url": server.base_url},
            "glm-4-refiner": {"base_url": f"http://127.0.0.1:{port}/v1"},
        }
        (folder / "addresses.yaml").write_text(yaml.safe_dump(addresses))
        snakemake(folder, f"{LANGUAGE_MODEL}/manifest.json")
        serve = ["transformers", "serve", LANGUAGE_MODEL, "--device", "cpu", "--dtype", "float32", "--port", str(port)]
        process = subprocess.Popen(serve, cwd=folder, env=environment(folder), stdout=log, stderr=log)
        try:
            until(lambda: listens(port), process, 120, folder / "serve.log")
            yield server
        finally:
            process.terminate()
            process.wait(30)


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def until(moment: Callable[[], bool], process: "subprocess.Popen[bytes]", limit_s: float, log: Path) -> None:
    """Wait for a moment while a process runs."""
    deadline = time.monotonic() + limit_s
    while not moment():
        assert process.poll() is None, log.read_text(errors="replace")[-3000:]
        assert time.monotonic() < deadline
        time.sleep(0.05)


def kill_at(moment: Callable[[], bool], folder: Path) -> None:
    """Start the rehearsal and kill it with all its jobs as soon as `moment` holds."""
    with (folder / "killed.log").open("wb") as log:
        process = subprocess.Popen(
            command(), cwd=folder, env=environment(folder), start_new_session=True, stdout=log, stderr=log
        )
    until(moment, process, 1800, folder / "killed.log")
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for path in folder.glob("store/*/work/*/lock"):  # a command outlives its job, and nothing joins it before its end
        with path.open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)


@pytest.fixture(scope="module")
def finished(folder: Path, endpoints: ChatServer) -> Path:
    """The whole of paper.yaml, killed while it films, trains and evaluates; no finished video is made twice."""
    results, store = folder / "results", folder / "store"
    moments: list[Callable[[], bool]] = [
        lambda: any(store.glob("cogvideox-5b/videos/*/*.mp4")),
        lambda: any(store.glob("*/checkpoints/*/checkpoint-*")),
        lambda: any(results.glob("*/evaluation/*/dpo-1/videos/*.jsonl")),
    ]
    filmed: dict[Path, int] = {}
    for moment in moments:
        kill_at(moment, folder)
        filmed |= {path: path.stat().st_mtime_ns for path in store.glob("*/videos/*/*.mp4")}
    snakemake(folder)
    assert len(filmed) > 50
    assert filmed == {path: path.stat().st_mtime_ns for path in filmed}, "a finished video was filmed again"
    return folder


def test_the_overlay_changes_models_sizes_and_devices_only(folder: Path, endpoints: ChatServer) -> None:
    paper, rehearsed = (flat(layers(folder, names)) for names in (LAYERS[:1], LAYERS))
    changed = {key for key in paper.keys() | rehearsed.keys() if paper.get(key) != rehearsed.get(key)}
    unexplained = {key for key in changed if not any(re.fullmatch(pattern, key) for pattern in ALLOWED)}
    assert not unexplained
    unused = [pattern for pattern in ALLOWED if not any(re.fullmatch(pattern, key) for key in changed)]
    assert not unused
    ours, theirs = (flat["generators open-sora-1.2 command"] for flat in (rehearsed, paper))
    assert [new for new, old in zip(ours, theirs, strict=True) if new != old] == ["6", "48p", "3:4"]


ALLOWED = (
    "models .*",
    "prompt_sources webvid .*",
    "prompt_sources webvid-test (url|sha256)",
    "prompt_sets [a-z0-9-]+ (first|count)",
    "generators cogvideox-5b device",
    "generators cogvideox-5b sampling (height|width|num_frames|num_inference_steps)",
    "generators open-sora-1.2 (width|height|frames|command)",
    "judges [a-z]+ device",
    "operators (gpt-4o|glm-4|glm-4-refiner) base_url",
    "operators glm-4-refiner model",
    "booster (device|threads)",
    "booster sampling (max_new_tokens|batch_size)",
    "evaluation bootstrap resamples",
    "evaluation sets vbench vbench dimensions",
    "vbench (python|device|checkpoints)",
)
"""What stands for models, sizes and devices."""


def layers(folder: Path, names: tuple[str, ...]) -> dict[str, Any]:
    """The configuration of a run."""
    read = {name: yaml.safe_load((folder / name).read_text(encoding="utf-8")) for name in ("config.yaml", *names)}
    return lay(read)[0]


def flat(part: Any, path: str = "") -> dict[str, Any]:
    """{path: value} of every leaf."""
    if not isinstance(part, dict):
        return {path: part}
    return {key: value for name, below in part.items() for key, value in flat(below, f"{path} {name}".strip()).items()}


def test_both_generators_reach_their_tables(finished: Path) -> None:
    table = pd.read_csv(finished / "results/tables/videoscore.csv")
    config = layers(finished, LAYERS)
    ours = table[table["set"] == "webvid-test"]
    generators = [name for name, entry in config["generators"].items() if entry]
    assert list(ours["generator"].unique()) == generators
    for generator, rows in ours.groupby("generator"):
        expected = config["evaluation"]["refiners_of"].get(generator, config["evaluation"]["refiners"])
        assert list(rows["refiner"]) == expected
        assert (rows["videos"] == 2).all() and rows[["VQ", "AES", "MPS", "KEEP"]].notna().all(axis=None)
    judged = pd.read_csv(finished / "results/tables/vbench.csv")
    ours = judged[judged["source"] == "measured"]
    assert len(ours) == 12 and ours["temporal_flickering"].between(0, 100).all()
    for name in generators:
        assert (finished / f"results/{name}/figures/contact_sheet.png").stat().st_size > 0
        margins = pd.read_csv(finished / f"results/{name}/boosters/dpo-2/log.csv")
        assert margins["loss"].notna().any()
    assert "<script" not in (finished / "results/report.html").read_text()
    for name in ("videoscore", "vbench"):
        assert "perhaps stand-ins" in (finished / f"results/tables/{name}.md").read_text()


def test_a_second_run_has_nothing_to_do(finished: Path) -> None:
    said = snakemake(finished, "--dry-run")
    assert "Nothing to be done" in said.stdout + said.stderr


def test_no_job_reads_a_result_that_its_rule_does_not_wait_for(finished: Path) -> None:
    """Such a job works or fails by the order in which others happen to end."""
    made_by: dict[str, str] = {}  # the log of the job that makes a file
    inputs: dict[str, set[str]] = {}
    for line in snakemake(finished, "--detailed-summary").stdout.splitlines()[1:]:
        output, _, _, log, needed, *_ = line.split("\t")
        made_by[output] = log
        inputs.setdefault(log, set()).update(needed.split(","))

    def before(job: str) -> set[str]:
        found, ahead = {job}, [job]
        while ahead:
            earlier = {made_by[path] for path in inputs[ahead.pop()] if path in made_by} - found
            found |= earlier
            ahead += earlier
        return found

    reads = {tuple(line.split("\t")) for line in (finished / "reads.tsv").read_text().splitlines()}
    assert len({log for log, _ in reads}) > 50, "most jobs read results"
    assert not {(log, path) for log, path in reads if path in made_by and made_by[path] not in before(log)}


def test_another_refiner_is_filmed_alone(finished: Path) -> None:
    """Open-Sora is compared with the other generator's rewriter too."""
    (finished / "change.yaml").write_text(
        yaml.safe_dump({"evaluation": {"refiners_of": {"open-sora-1.2": ["original", "glm-4", "gpt-4o"]}}})
    )
    target = "results/open-sora-1.2/tables/videoscore.csv"
    before = {path: path.stat().st_mtime_ns for path in (finished / "store/open-sora-1.2/videos").rglob("*.mp4")}
    found = jobs(finished, target, more=("change.yaml",))
    assert found["refine"] == found["film"] == 2
    assert found["score"] == found["gather"] == 2 * 3  # by the rewards, and by two judges that only report
    assert set(found) <= {"refine", "film", "score", "gather", "table", "total"}
    snakemake(finished, target, more=("change.yaml",))
    table = pd.read_csv(finished / target)
    assert list(table.loc[table["set"] == "webvid-test", "refiner"]) == ["original", "glm-4", "gpt-4o"]
    assert before == {path: path.stat().st_mtime_ns for path in before}


def rerun(folder: Path, overlay: dict[str, Any]) -> dict[str, int]:
    """How many jobs of each rule a changed configuration runs."""
    (folder / "change.yaml").write_text(yaml.safe_dump(overlay))
    return jobs(folder, more=("change.yaml",))


LEARNED = {"pairs": 2, "train": 6, "candidates": 4, "triples": 4, "film": 2 * (2 + 9)}
"""What follows the pairs: of both generators three boosters, what two of them draw, and what all write for each set."""
UNTOUCHED = {"prompt_source", "prompt_set", "fetch", "check_base", "vbench_prompts", "vbench_checkpoint"}


def test_how_judges_do_their_work_reruns_nothing(finished: Path) -> None:
    assert not rerun(finished, {"judges": {"videoscore": {"batch_size": 2}}, "score_minutes": 59})


def test_another_threshold_of_the_pairs_reruns_the_pairs_and_what_follows(finished: Path) -> None:
    found = rerun(finished, {"evolution": {"min_gain": 0.01}})
    assert {rule: found.get(rule) for rule in LEARNED} == LEARNED
    assert not {"propose", *UNTOUCHED} & set(found)


def test_another_round_of_evolution_films_that_round_and_what_follows_the_pairs(finished: Path) -> None:
    found = rerun(finished, {"evolution": {"rounds": 5}})
    assert {rule: found.get(rule) for rule in LEARNED} == LEARNED | {"film": LEARNED["film"] + 2}
    assert found["propose"] == 2 and not UNTOUCHED & set(found)


def test_a_round_less_of_evolution_reruns_the_pairs_and_what_follows(finished: Path) -> None:
    found = rerun(finished, {"evolution": {"rounds": 3}})
    assert {rule: found.get(rule) for rule in LEARNED} == LEARNED
    assert not {"propose", *UNTOUCHED} & set(found)


def test_another_round_of_dpo_trains_that_round_alone(finished: Path) -> None:
    refiners = {"dpo-3": {"kind": "booster", "booster": "dpo-3"}}
    found = rerun(finished, {"preference": {"rounds": 3}, "refiners": refiners})
    for rule in ("candidates", "triples", "train", "film", "score", "gather"):
        assert found[rule] == 2, rule
    assert not {"propose", "pairs", "refine", "table", *UNTOUCHED} & set(found)
