"""Fifty simulated raters at once against the real server of a user study, which is killed in the middle.

`PYTHONPATH=.:tests python tests/load_study.py` prints how many votes a second are stored, how long an answer takes, and
whether each vote that was answered is there. Raters are simulated in tests alone.
"""

import http.client
import json
import sqlite3
import threading
import time
from argparse import ArgumentParser
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from studies import Made, Server, make_study, simulated_vote


@dataclass
class Load:
    """What simulated raters saw."""

    acknowledged: dict[str, str] = field(default_factory=dict)
    """{vote: answer} of what the server answered."""
    stored: dict[str, str] = field(default_factory=dict)
    """The same of what is in its database in the end."""
    seconds: list[float] = field(default_factory=list)
    """Of each answer that came at the first try."""
    retried: int = 0
    wall_s: float = 0.0

    def quantile(self, share: float) -> float:
        return sorted(self.seconds)[min(len(self.seconds) - 1, int(share * len(self.seconds)))]


class _Rater:
    def __init__(self, server: Server, study: Made, number: int, load: Load, lock: threading.Lock) -> None:
        self.server, self.study, self.load, self.lock = server, study, load, lock
        self.rater = f"simulated-{number:04d}"
        self.connection: http.client.HTTPConnection | None = None

    def ask(self, path: str, said: dict[str, Any]) -> Any:
        body = json.dumps({"plan": self.study.plan.id, "rater": self.rater, **said})
        first = True
        while True:
            started = time.perf_counter()
            try:
                if self.connection is None:
                    self.connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=20)
                self.connection.request("POST", f"/api/{path}", body, {"content-type": "application/json"})
                answer = self.connection.getresponse()
                text = answer.read()
                if answer.status == 200:
                    if path == "vote" and first:
                        with self.lock:
                            self.load.seconds.append(time.perf_counter() - started)
                    return json.loads(text)
                if answer.status < 500:
                    raise RuntimeError(text.decode())
            except (OSError, http.client.HTTPException):
                self.connection = None
            first = False
            with self.lock:
                self.load.retried += 1
            time.sleep(0.05)

    def run(self, think_s: float) -> None:
        plan = self.study.plan
        slot = self.ask("join", {})["slot"]
        for position in range(1, len(plan.slots[slot - 1]) + 1):
            answer = ("left", "right", "both-good", "both-poor")[(slot + position) % 4]
            vote = simulated_vote(plan, slot, position, answer)
            stored = self.ask("vote", vote)["stored"]
            with self.lock:
                self.load.acknowledged[vote["vote"]] = stored
            time.sleep(think_s)


def measure(folder: Path, raters: int = 50, prompts: int = 20, think_s: float = 0.0, kill: bool = True) -> Load:
    """Let raters vote at once.

    Args:
        folder: Where the study is made.
        raters: How many.
        prompts: Of the study; each rater judges twice as many pairs.
        think_s: Seconds between an answer and the next one.
        kill: Kill the server (as `kill -9`) once half of the votes are there, and start it again.
    """
    names = [f"a ball number {number} rolls" for number in range(prompts)]
    study = make_study(folder, prompts=names, raters=raters, spares=0, each=2 * prompts, repeats=4, checks=3)
    load, lock, server = Load(), threading.Lock(), Server(study)
    server.start()
    total = raters * len(study.plan.slots[0])
    threads = [
        threading.Thread(target=_Rater(server, study, number, load, lock).run, args=(think_s,))
        for number in range(raters)
    ]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    if kill:
        while len(load.acknowledged) < total / 2:
            time.sleep(0.01)
        server.kill()
        server.start()
    for thread in threads:
        thread.join()
    load.wall_s = time.perf_counter() - started
    server.kill()
    (path,) = study.votes.glob("*.sqlite")
    connection = sqlite3.connect(path)
    load.stored = dict(connection.execute("SELECT vote, answer FROM votes").fetchall())
    connection.close()
    return load


if __name__ == "__main__":
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--raters", type=int, default=50)
    parser.add_argument("--prompts", type=int, default=20)
    parser.add_argument("--think", type=float, default=0.0, help="seconds between answers")
    options = parser.parse_args()
    for killed in (False, True):
        with TemporaryDirectory() as made:
            found = measure(Path(made), options.raters, options.prompts, options.think, killed)
        lost = found.acknowledged.items() - found.stored.items()
        print(
            f"{'killed' if killed else 'not killed'}: {len(found.stored)} votes of {options.raters} raters "
            f"in {found.wall_s:.1f} s ({len(found.stored) / found.wall_s:.0f}/s), an answer takes "
            f"{1000 * found.quantile(0.5):.0f} ms (median), {1000 * found.quantile(0.99):.0f} ms (99th percentile); "
            f"{found.retried} retries, {len(found.acknowledged)} answered, {len(lost)} of these lost"
        )
