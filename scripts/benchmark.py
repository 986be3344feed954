"""Time what the suite chose against what it did not, side by side in one run.

Our filming, sampling and scoring against the loops of the authors' scripts; `dtype: auto` against the other dtype; the
distilled miniature against its teacher; `promptavideo boost` of a file against a loop of single calls.
"""

import subprocess
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence, Sized
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import yaml

from promptavideo import cli, registry
from promptavideo.boosters.chat import Instruction
from promptavideo.boosters.load import Chain
from promptavideo.config import Config, check
from promptavideo.dtypes import resolve
from promptavideo.judges import Judge, load_judges
from promptavideo.metrics import PAPER
from promptavideo.miniature.acceptance import measure
from promptavideo.models import fetch
from promptavideo.prompts import load_prompt_set
from promptavideo.shots import Shot
from promptavideo.video import Clip, read_video

SCORED_TOGETHER = 16
SCORED_FRAMES = 33
DTYPE_VIDEOS = 4
SINGLE_CALLS = 10

parser = cli.parser(__doc__)
parser.add_argument("--videos", type=int, default=32)
parser.add_argument("--prompts", type=int, default=24, help="prompts to draw candidates for")
parser.add_argument("--boosted", type=int, default=1000, help="prompts of the file that `promptavideo boost` rewrites")
parser.add_argument("--card-prompts", type=int, default=20, help="prompts to compare student and teacher on")
TEACHER = Path("resources/miniature-teacher/generator.yaml")
Row = tuple[str, float, str, float]


def main(options: Namespace) -> None:
    """Load config.yaml and the teacher's entry, time all pairs, print a table."""
    root = Path()
    raw = yaml.safe_load(Path("config.yaml").read_text(encoding="utf-8"))
    config = check(raw, root)
    for part, entries in yaml.safe_load(TEACHER.read_text(encoding="utf-8")).items():
        raw[part] |= entries
    both = check(raw, root)
    prompts = load_prompt_set("heldout", config.prompt_sets["heldout"], root)["prompt"].tolist()
    rows = [
        *_filming(config, prompts[: options.videos]),
        *_filming_dtypes(config, prompts[:DTYPE_VIDEOS]),
        *_training_dtypes(config),
        *_student(both, options.card_prompts),
        *_sampling(config, prompts[: options.prompts]),
        *_boosting(prompts, options.boosted),
        *_scoring(prompts[: options.videos]),
    ]
    width = max(len(name) for name, *_ in rows)
    cli.say(f"{'what':{width}} {'rate':>12} {'speed-up':>9}")
    for name, rate, unit, speed_up in rows:
        cli.say(f"{name:{width}} {rate:8.2f} {unit:>3} {speed_up:8.1f}x")


def _filming(config: Config, prompts: list[str]) -> list[Row]:
    """Videos a second: one pipeline call a prompt, against fixed-shape batches; the same threads for both."""
    name, entry = next(iter(config.generators.items()))
    single, batched = (_films(entry, prompts, batch_size=size) for size in (1, entry.batch_size))
    return [
        (f"filming {name}, one prompt a call", single, "v/s", 1.0),
        (f"filming {name}, batches of {entry.batch_size}", batched, "v/s", batched / single),
    ]


def _films(entry: Any, prompts: Sequence[str], **settings: Any) -> float:
    """Videos a second of a generator with some other settings, after a first batch."""
    folders = [Path("resources/models", model) for model in entry.models]
    generator = entry.model_copy(update=settings).load("benchmark", folders, None)
    shots = [Shot(prompt, None, seed) for seed, prompt in enumerate(prompts)]
    _film(generator, shots[: generator.batch_size])
    return _rate(partial(_film, generator, shots))


def _film(generator: Any, shots: Sequence[Shot]) -> list[Clip]:
    """The clips of some shots, filmed in the generator's batches."""
    size = generator.batch_size
    return [clip for start in range(0, len(shots), size) for clip in generator.film(shots[start : start + size])]


def _dtypes() -> tuple[str, str]:
    """What `auto` takes on this machine, and the other."""
    chosen = resolve("auto", "cpu", "benchmark")
    return chosen, "float32" if chosen == "bfloat16" else "bfloat16"


def _filming_dtypes(config: Config, prompts: list[str]) -> list[Row]:
    """Videos a second in the dtype that `auto` takes and in the other; one small call, since emulation takes long."""
    name, entry = next(iter(config.generators.items()))
    rates = [_films(entry, prompts, batch_size=len(prompts), dtype=dtype, device="cpu") for dtype in _dtypes()]
    return _compared(f"filming {name}", rates, "v/s")


def _training_dtypes(config: Config) -> list[Row]:
    """Steps a second of a LoRA on the booster's base model, in the dtype that `auto` takes and in the other."""
    import torch
    from peft import get_peft_model

    from promptavideo.boosters.load import load_chain
    from promptavideo.boosters.training import lora_config

    booster, rates = config.booster, []
    torch.set_num_threads(booster.threads)
    for dtype in _dtypes():
        model, _ = load_chain(Chain(Path("resources/models", booster.base), ()), dtype)
        trained = get_peft_model(model, lora_config(booster.sft.lora, model.config.num_hidden_layers))
        tokens = torch.arange(2 * 64).view(2, 64) + 100

        step = partial(_train_step, trained, tokens, dtype)
        step()
        rates.append(_rate(step))
    return _compared(f"training step of {booster.base}, 2 x 64 tokens", rates, "/s")


def _train_step(model: Any, tokens: Any, dtype: str) -> list[float]:
    """The loss of one step, whose gradients are computed."""
    import torch

    with torch.autocast("cpu", torch.bfloat16, enabled=dtype == "bfloat16"):
        loss = model(input_ids=tokens, labels=tokens).loss
        loss.backward()
    return [float(loss)]


def _compared(what: str, rates: Sequence[float], unit: str) -> list[Row]:
    """Rows of the chosen dtype and the other."""
    chosen, other = _dtypes()
    return [
        (f"{what}, {other}", rates[1], unit, 1.0),
        (f"{what}, {chosen}, which auto takes", rates[0], unit, rates[0] / rates[1]),
    ]


def _student(config: Config, prompts: int) -> list[Row]:
    """Videos a second of the teacher and of the miniature distilled from it, with the main numbers of their cards."""
    found = []
    with TemporaryDirectory() as folder:
        for name in ("mini-t2v-teacher", "mini-t2v"):
            entry = config.generators[name]
            (model,) = entry.models
            generator = entry.load("benchmark", [_fetched(config, model, Path(folder))], None)
            spent: list[float] = []

            def film(shots: list[Shot], generator=generator, spent=spent) -> list[Clip]:  # type: ignore[no-untyped-def]
                began = time.perf_counter()
                clips = _film(generator, shots)
                spent.append((time.perf_counter() - began) / len(shots))
                return clips

            report = measure(film, config.seed, prompts, seeds=2)
            shares = ", ".join(f"{c.name.split(' moved')[0]} {c.value:.2f}" for c in report.criteria)
            found.append((f"filming {name} ({shares})", len(spent) / sum(spent)))
    slow = found[0][1]
    return [(what, rate, "v/s", rate / slow) for what, rate in found]


def _fetched(config: Config, model: str, folder: Path) -> Path:
    """The folder of a model; one that no run has fetched is put together in a temporary folder."""
    ready = Path("resources/models", model)
    if ready.exists():
        return ready
    entry = config.models[model]
    others = {name: Path("resources/models", name) for name in entry.models}
    fetch(model, entry, folder / model, others)
    return folder / model


def _sampling(config: Config, prompts: list[str]) -> list[Row]:
    """New tokens a second: five candidates of one prompt a call, against batches over many prompts."""
    from promptavideo.boosters.sampling import Sampler

    booster, count = config.booster, config.preference.candidates
    repeated = [prompt for prompt in prompts for _ in range(count)]
    rates = []
    for batch_size in (count, booster.sampling.batch_size):
        sampling = booster.sampling.model_copy(update={"batch_size": batch_size})
        sampler = Sampler(
            Chain(Path("resources/models", booster.base), ()),
            Instruction(Path(booster.instruction)),
            booster.model_copy(update={"sampling": sampling, "threads": 1}),
        )

        rates.append(_rate(partial(_draw, sampler, repeated)))
    few, many = rates
    return [
        (f"candidates, {count} rows a call", few, "t/s", 1.0),
        (f"candidates, {booster.sampling.batch_size} rows a call", many, "t/s", many / few),
    ]


def _boosting(prompts: list[str], count: int) -> list[Row]:
    """Prompts a second that the shipped booster rewrites: a file of them, against a loop of calls of one row.

    And the seconds from the start of the command to the first text: in the shape of the run's calls, which gives the
    text of its tables, and in a call of one row.
    """
    from promptavideo.use.boost import Boost
    from promptavideo.use.source import SHIPPED, find

    source, lines = find(str(SHIPPED)), list(islice(cycle(prompts), count))
    whole, single = Boost(source), Boost(source, rows=1)
    many = _rate(lambda: [*whole.stream(lines)])
    few = _rate(lambda: [single.write([line]) for line in lines[:SINGLE_CALLS]])
    command = [sys.executable, "-m", "promptavideo", "boost", prompts[0], "--quiet", "--booster", str(SHIPPED)]
    exact, fast = (_seconds([*command, *more]) for more in ([], ["--fast"]))
    return [
        ("boosting, a loop of calls of one row", few, "p/s", 1.0),
        (f"boosting, a file of {count} prompts", many, "p/s", many / few),
        ("boosting, start to first text, as in the tables", exact, "s", 1.0),
        ("boosting, start to first text, --fast", fast, "s", exact / fast),
    ]


def _seconds(command: Sequence[str]) -> float:
    """How long a command takes."""
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def _draw(sampler: Any, prompts: list[str]) -> list[int]:
    """The tokens that a sampler writes for some prompts."""
    texts = sampler.rewrite(prompts, list(range(len(prompts))), f"{sampler.settings.batch_size} rows a call")
    return [token for ids in sampler.tokenizer(texts)["input_ids"] for token in ids]


def _scoring(prompts: list[str]) -> list[Row]:
    """Videos a second that the paper's three rewards score, as tiny models of the real classes.

    The authors' way is a pass a reward, each of which decodes every video and scores it alone. Ours decodes a video
    once, in a thread, checks it against its manifest, scores in batches, and keeps each score on disk. Neither counts
    the loading of models. They take turns, and each counts with its best time.
    """
    with TemporaryDirectory() as folder:
        work = _Scoring(Path(folder), prompts)
        decoding = 1 / _best([work.decode])[0]
        alone, batched, one, many, inputs = _best(
            [work.apart, work.together, work.networks_alone, work.networks_together, work.make_inputs]
        )
    rows = []
    for what, rate, decodings, networks in (
        (f"scoring, {len(work.alone)} passes of one video", alone, len(work.alone), one),
        (f"scoring, batches of {SCORED_TOGETHER}", batched, 1, many),
    ):
        parts = {"decoding": decodings * decoding, "inputs": 1 / inputs, "networks": 1 / networks - 1 / inputs}
        shares = ", ".join(f"{name} {1000 * spent:.1f}" for name, spent in parts.items())
        rows.append((f"{what} ({shares} ms)", rate, "v/s", rate / alone))
    return rows


class _Scoring:
    """Tiny videos, and the paper's three rewards to score them one by one or in batches.

    All work returns as many things as it does videos.
    """

    def __init__(self, folder: Path, prompts: list[str]) -> None:
        from promptavideo.filming import film_shard
        from promptavideo.store import Store, read_manifest
        from tests.fakes import Painter, prompts_table
        from tests.tiny_judges import fetched

        class _LongPainter(Painter):
            """Films as many frames as the authors do with CogVideoX, repeating those of a scene."""

            def film(self, shots: Sequence[Shot]) -> list[Any]:
                return [
                    Clip(np.resize(made.frames, (SCORED_FRAMES, *made.frames.shape[1:])), made.fps)
                    for made in super().film(shots)
                    if isinstance(made, Clip)
                ]

        self.prompts, self.manifest, self.store = prompts, folder / "videos.jsonl", Store(folder, "world")
        self.rows = prompts_table({prompt: [prompt] for prompt in prompts})
        film_shard(self.rows, _LongPainter(), self.store, self.manifest, "film")
        self.paths = [self.store.video(entry.key) for entry in read_manifest(self.manifest)]
        self.clips = self.decode()
        models = fetched(folder)
        self.turn = 0
        self.alone, self.batched = self._load(models, 1), self._load(models, SCORED_TOGETHER)

    def _load(self, models: Path, batch_size: int) -> Mapping[str, Judge]:
        shared = {"device": "cpu", "dtype": "float32", "batch_size": batch_size}
        entries = {
            "videoscore": {"kind": "videoscore", "model": "videoscore", **shared},
            "aesthetic": {"kind": "aesthetic", "model": "clip-l", "head": "head", **shared},
            "mps": {"kind": "mps", "model": "mps", "base": "clip-h", **shared},
        }
        kinds: Any = registry.kinds("judges")
        rewards = load_judges({name: kinds[one["kind"]].model_validate(one) for name, one in entries.items()}, models)
        for reward in rewards.values():  # loads and warms up
            reward.score(self.clips[:1], self.prompts[:1])
        return rewards

    def decode(self) -> list[Clip]:
        """Decode every video once."""
        return [read_video(path) for path in self.paths]

    def make_inputs(self) -> list[Clip]:
        """Make the networks' inputs of every clip."""
        for reward in self.alone.values():
            for clip, prompt in zip(self.clips, self.prompts, strict=True):
                reward.prepare(clip, prompt)
        return self.clips

    def networks_alone(self) -> list[Clip]:
        """Score decoded clips one by one."""
        for reward in self.alone.values():
            for clip, prompt in zip(self.clips, self.prompts, strict=True):
                reward.score([clip], [prompt])
        return self.clips

    def networks_together(self) -> list[Clip]:
        """Score decoded clips in batches."""
        for reward in self.batched.values():
            reward.score(self.clips, self.prompts)
        return self.clips

    def apart(self) -> list[Path]:
        """Score every video as the authors' scripts do."""
        for reward in self.alone.values():
            for path, prompt in zip(self.paths, self.prompts, strict=True):
                reward.score([read_video(path)], [prompt])
        return self.paths

    def together(self) -> Sized:
        """Score every video as a job of ours does."""
        from promptavideo.scoring import score_shard

        self.turn += 1  # under another identity, no score is found in the cache
        rewards = {f"{identity} {self.turn}": reward for identity, reward in self.batched.items()}
        return score_shard(self.rows, [self.manifest], rewards, PAPER, self.store, "score")


def _best(works: Sequence[Callable[[], Sized]], turns: int = 5) -> list[float]:
    """The best rate of each, which take turns, since other work on the machine slows any of them down."""
    rates = [[_rate(work) for work in works] for _ in range(turns)]
    return [max(found) for found in zip(*rates, strict=True)]


def _rate(work: Callable[[], Sized]) -> float:
    """How many a second of what some work gives."""
    began = time.perf_counter()
    done = work()
    return len(done) / (time.perf_counter() - began)


if __name__ == "__main__":
    cli.run(parser.parse_args(), main)
