"""User studies of made-up videos, for tests of what happens around them. Raters are simulated here, nowhere else."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from makers import ROOT

from promptavideo.rating import plan as plans
from promptavideo.rating import site
from promptavideo.rating.config import OVERALL
from promptavideo.rating.plan import BROKEN, INTACT, Item, Plan, Shown
from promptavideo.rating.slots import slots
from promptavideo.store import Entry, Store, write_manifest
from promptavideo.video import Clip, Filmed
from promptavideo.viewing import VIEWED

PAIRS = (("dpo-2", "original"), ("dpo-2", "llm"))


@dataclass(frozen=True)
class Made:
    """A study on disk."""

    plan: Plan
    folder: Path

    @property
    def site(self) -> Path:
        return self.folder / "site"

    @property
    def votes(self) -> Path:
        return self.folder / "votes"


def make_plan(
    prompts: Sequence[str] = ("a red ball", "a blue box", "a green cone"),
    pairs: Sequence[tuple[str, str]] = PAIRS,
    raters: int = 3,
    spares: int = 1,
    each: int = 4,
    repeats: int = 1,
    checks: int = 1,
    questions: Mapping[str, str] | None = None,
    stored: Mapping[tuple[str, str], tuple[str, str]] | None = None,
    medium: Filmed = "video",
) -> Plan:
    """A plan; `stored` has the key and the SHA-256 of each refiner's video of each prompt."""

    def shown(item: str, refiner: str, prompt: str) -> Shown:
        whose = pairs[0][0] if refiner in (INTACT, BROKEN) else refiner
        key, sha = (stored or {}).get((whose, prompt), (f"key-{whose}-{prompt}", f"sha-{whose}-{prompt}"))
        return Shown(refiner, key, sha, plans._name(1, "file", item, refiner) + VIEWED[medium])

    def item(pair: tuple[str, str], prompt: str, check: bool) -> Item:
        name = plans._name(1, "item", *pair, prompt)
        first, second = (shown(name, refiner, prompt) for refiner in pair)
        return Item(name, f"p{prompts.index(prompt)}", prompt, 0, 7, first, second, check)

    items = [item(pair, prompt, False) for pair in pairs for prompt in prompts]
    known = [item((INTACT, BROKEN), prompt, True) for prompt in prompts[:checks]]
    places = slots([one.name for one in items], [one.name for one in known], each, repeats, raters + spares, 1)
    named = {one.name: (one.first.refiner, one.second.refiner) for one in items}
    planned = [
        sum(named.get(at.item) == pair and at.repeats is None for place in places[:raters] for at in place)
        for pair in pairs
    ]
    plan = Plan(
        "", "mini-t2v", "heldout", medium, dict(questions or {"overall": OVERALL}), "You may stop at any time.",
        list(pairs), [*items, *known], places, raters, planned, 64, 512,
    )  # fmt: skip
    return replace(plan, id=plan.digest())


def make_study(folder: Path, **how: Any) -> Made:
    """A study with its page and short videos."""
    prompts = list(how.pop("prompts", ("a red ball", "a blue box", "a green cone")))
    pairs = how.get("pairs", PAIRS)
    medium: Filmed = how.get("medium", "video")
    store = Store(folder / "store", "mini-t2v", medium)
    stored, entries = {}, []
    for place, refiner in enumerate(dict.fromkeys(name for pair in pairs for name in pair)):
        for number, prompt in enumerate(prompts):
            frames = np.full((6, 32, 32, 3), 60 + 40 * place, np.uint8)
            for time_ in range(6):
                frames[time_, 8:16, 4 * time_ : 4 * time_ + 8] = [200, 20 * number % 250, 90]
            key = f"{place:02d}{number:04d}"
            video = store.put(key, Clip(frames[: 1 if medium == "image" else 6], 12.0), 18, "yuv420p")
            stored[refiner, prompt] = key, video.sha256
            entries.append(Entry(f"p{number}", 0, 0, key, video.sha256, 6, 12.0))
    manifest = folder / "manifest.jsonl"
    write_manifest(entries, manifest)
    plan = make_plan(prompts, stored=stored, **how)
    site.write(plan, store, {entry.key: (entry, manifest) for entry in entries}, folder / "site")
    plans.write(plan, folder / "plan.json")
    return Made(plan, folder)


def simulated_vote(plan: Plan, slot: int, position: int, answer: str, question: str = "overall", **more: Any) -> dict:
    """What a page says of one answer."""
    at = plan.slots[slot - 1][position - 1]
    left, right = plan.named[at.item].files(at)
    said = {"vote": f"vote-{slot}-{position}-{question}", "position": position, "question": question, "round": 0}
    return {**said, "left": left, "right": right, "answer": answer, "milliseconds": 900, **more}


def choosing(plan: Plan, slot: int, position: int, first: bool = True) -> str:
    """The answer that chooses the first (or second) video of the item at a position."""
    return "left" if (plan.slots[slot - 1][position - 1].left == "first") == first else "right"


def simulated_file(plan: Plan, slot: int, rater: str, answers: Mapping[int, str] | str = "first", **more: Any) -> dict:
    """What a simulated rater hands over: an answer at each position, or all for the first videos."""
    places = range(1, len(plan.slots[slot - 1]) + 1)
    given = answers if isinstance(answers, Mapping) else {place: choosing(plan, slot, place) for place in places}
    votes = [
        simulated_vote(plan, slot, place, answer, question, vote=f"{rater}-{place}-{question}")
        for place, answer in given.items()
        for question in plan.questions
    ]
    said = {"format": "prompt-a-video-votes", "version": 1, "plan": plan.id, "rater": rater, "slot": slot}
    return said | {"votes": votes, "undone": []} | more


def hand_over(folder: Path, name: str, said: Any) -> Path:
    """Put a file into the folder of votes."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    path.write_text(said if isinstance(said, str) else json.dumps(said))
    return path


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


class Server:
    """The real server, as a process of its own that can be killed and started again."""

    def __init__(self, study: Made, port: int | None = None, *options: str) -> None:
        self.study, self.port, self.options = study, port or free_port(), options
        self.address = f"http://127.0.0.1:{self.port}/"
        self.process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        command = [sys.executable, str(ROOT / "scripts/study_server.py"), "--port", str(self.port)]
        command += ["--plan", str(self.study.folder / "plan.json"), "--site", str(self.study.site)]
        command += ["--votes", str(self.study.votes), *self.options]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(300):
            if self.process.poll() is not None:
                raise RuntimeError(f"the server ended with {self.process.returncode}")
            try:
                urllib.request.urlopen(self.address, timeout=1).close()
                return
            except urllib.error.HTTPError:
                return
            except OSError:
                time.sleep(0.1)
        raise RuntimeError("the server does not answer")

    def kill(self) -> None:
        """As by `kill -9`."""
        assert self.process
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        if self.process and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(timeout=20)


@contextmanager
def serving(study: Made, *options: str) -> Iterator[Server]:
    server = Server(study, None, *options)
    server.start()
    try:
        yield server
    finally:
        server.stop()
