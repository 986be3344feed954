"""Time our filming, sampling and scoring against the loops of the authors' scripts, side by side in one run."""

import time
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import yaml
from pydantic import TypeAdapter

from promptavideo import cli
from promptavideo.boosters.chat import Instruction
from promptavideo.boosters.load import Chain
from promptavideo.config import Config, check
from promptavideo.generators import load_generator
from promptavideo.prompts import load_prompt_set
from promptavideo.rewards import Reward, RewardConfig, load_rewards
from promptavideo.rewards.neural import NeuralReward
from promptavideo.video import Clip

SCORED_TOGETHER = 16
SCORED_FRAMES = 33

parser = cli.parser(__doc__)
parser.add_argument("--videos", type=int, default=32)
parser.add_argument("--prompts", type=int, default=24, help="prompts to draw candidates for")


def main(options: Namespace) -> None:
    """Load config.yaml, time both pairs, print a table."""
    root = Path()
    config = check(yaml.safe_load(Path("config.yaml").read_text(encoding="utf-8")), root)
    prompts = load_prompt_set("heldout", config.prompt_sets["heldout"], root)["prompt"].tolist()
    rows = [
        *_filming(config, prompts[: options.videos]),
        *_sampling(config, prompts[: options.prompts]),
        *_scoring(prompts[: options.videos]),
    ]
    cli.say(f"{'what':84} {'rate':>12} {'speed-up':>9}")
    for name, rate, unit, speed_up in rows:
        cli.say(f"{name:84} {rate:8.2f} {unit:>3} {speed_up:8.1f}x")


def _filming(config: Config, prompts: list[str]) -> list[tuple[str, float, str, float]]:
    """Videos a second: one pipeline call a prompt, against fixed-shape batches; the same threads for both."""
    name, entry = next(iter(config.generators.items()))
    folder = Path("resources/models", *entry.models)
    rates = []
    for batch_size in (1, entry.batch_size):
        generator = load_generator(entry.model_copy(update={"batch_size": batch_size}), folder)
        generator.film(prompts[:batch_size], list(range(batch_size)))

        def film(generator=generator, batch_size=batch_size) -> int:  # type: ignore[no-untyped-def]
            for start in range(0, len(prompts), batch_size):
                batch = prompts[start : start + batch_size]
                generator.film(batch, list(range(start, start + len(batch))))
            return len(prompts)

        rates.append(_rate(film))
    single, batched = rates
    return [
        (f"filming {name}, one prompt a call", single, "v/s", 1.0),
        (f"filming {name}, batches of {entry.batch_size}", batched, "v/s", batched / single),
    ]


def _sampling(config: Config, prompts: list[str]) -> list[tuple[str, float, str, float]]:
    """New tokens a second: five candidates of one prompt a call, against batches over many prompts."""
    from promptavideo.boosters.sampling import Sampler

    booster, count = config.booster, config.preference.candidates
    repeated = [prompt for prompt in prompts for _ in range(count)]
    rates = []
    for batch_size in (count, booster.sampling.batch_size):
        sampler = Sampler(
            Chain(Path("resources/models", booster.base), ()),
            Instruction(Path(booster.instruction)),
            booster.sampling.model_copy(update={"batch_size": batch_size}),
            threads=1,
            device=booster.device,
        )

        def draw(sampler=sampler) -> int:  # type: ignore[no-untyped-def]
            texts = sampler.rewrite(repeated, list(range(len(repeated))), f"{sampler.settings.batch_size} rows a call")
            return sum(len(ids) for ids in sampler.tokenizer(texts)["input_ids"])

        rates.append(_rate(draw))
    few, many = rates
    return [
        (f"candidates, {count} rows a call", few, "t/s", 1.0),
        (f"candidates, {booster.sampling.batch_size} rows a call", many, "t/s", many / few),
    ]


def _scoring(prompts: list[str]) -> list[tuple[str, float, str, float]]:
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
    """Tiny videos, and the paper's three rewards to score them one by one or in batches; all work returns its count."""

    def __init__(self, folder: Path, prompts: list[str]) -> None:
        from promptavideo.filming import film_shard
        from promptavideo.generators.base import Lost
        from promptavideo.store import Store, VideoFile, read_manifest
        from promptavideo.video import read_video
        from tests.fakes import Painter, prompts_table
        from tests.tiny_rewards import fetched

        Made = Clip | VideoFile | Lost

        class _LongPainter(Painter):
            """Films as many frames as the authors do with CogVideoX, repeating those of a scene."""

            def film(self, texts: Sequence[str], seeds: Sequence[int]) -> list[Made]:
                return [self._longer(made) for made in super().film(texts, seeds)]

            @staticmethod
            def _longer(made: Made) -> Made:
                if not isinstance(made, Clip):
                    return made
                return Clip(np.resize(made.frames, (SCORED_FRAMES, *made.frames.shape[1:])), made.fps)

        self.prompts, self.manifest, self.store = prompts, folder / "videos.jsonl", Store(folder, "world")
        self.rows = prompts_table({prompt: [prompt] for prompt in prompts})
        film_shard(self.rows, _LongPainter(), self.store, self.manifest, "film")
        self.paths = [self.store.video(entry.key) for entry in read_manifest(self.manifest)]
        self.clips = [read_video(path) for path in self.paths]
        models = fetched(folder)
        self.turn = 0
        self.alone, self.batched = self._load(models, 1), self._load(models, SCORED_TOGETHER)

    def _load(self, models: Path, batch_size: int) -> Mapping[str, Reward]:
        shared = {"device": "cpu", "dtype": "float32", "batch_size": batch_size}
        entries = {
            "videoscore": {"kind": "videoscore", "model": "videoscore", **shared},
            "aesthetic": {"kind": "aesthetic", "model": "clip-l", "head": "head", **shared},
            "mps": {"kind": "mps", "model": "mps", "base": "clip-h", **shared},
        }
        adapter: TypeAdapter[dict[str, RewardConfig]] = TypeAdapter(dict[str, RewardConfig])
        rewards = load_rewards(adapter.validate_python(entries), models)
        for reward in rewards.values():  # loads and warms up
            reward.score(self.clips[:1], self.prompts[:1])
        return rewards

    def decode(self) -> int:
        """Decode every video once."""
        from promptavideo.video import read_video

        return len([read_video(path) for path in self.paths])

    def make_inputs(self) -> int:
        """Make the networks' inputs of every clip."""
        for reward in self.alone.values():
            assert isinstance(reward, NeuralReward)
            for clip, prompt in zip(self.clips, self.prompts, strict=True):
                reward.prepare(clip, prompt)
        return len(self.clips)

    def networks_alone(self) -> int:
        """Score decoded clips one by one."""
        for reward in self.alone.values():
            for clip, prompt in zip(self.clips, self.prompts, strict=True):
                reward.score([clip], [prompt])
        return len(self.clips)

    def networks_together(self) -> int:
        """Score decoded clips in batches."""
        for reward in self.batched.values():
            reward.score(self.clips, self.prompts)
        return len(self.clips)

    def apart(self) -> int:
        """Score every video as the authors' scripts do."""
        from promptavideo.video import read_video

        for reward in self.alone.values():
            for path, prompt in zip(self.paths, self.prompts, strict=True):
                reward.score([read_video(path)], [prompt])
        return len(self.paths)

    def together(self) -> int:
        """Score every video as a job of ours does."""
        from promptavideo.scoring import score_shard

        self.turn += 1  # under another identity, no score is found in the cache
        rewards = {f"{identity} {self.turn}": reward for identity, reward in self.batched.items()}
        return len(score_shard(self.rows, self.manifest, rewards, self.store, "score"))


def _best(works: Sequence[Callable[[], int]], turns: int = 5) -> list[float]:
    """The best rate of each, which take turns, since other work on the machine slows any of them down."""
    rates = [[_rate(work) for work in works] for _ in range(turns)]
    return [max(found) for found in zip(*rates, strict=True)]


def _rate(work: Callable[[], int]) -> float:
    began = time.perf_counter()
    done = work()
    return done / (time.perf_counter() - began)


if __name__ == "__main__":
    cli.run(parser.parse_args(), main)
