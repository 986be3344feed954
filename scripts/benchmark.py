"""Time our filming, sampling and scoring against the loops of the authors' scripts, side by side in one run."""

import time
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml
from pydantic import TypeAdapter

from promptavideo import cli
from promptavideo.boosters.chat import Instruction
from promptavideo.boosters.load import Chain
from promptavideo.config import Config, check
from promptavideo.generators import load_generator
from promptavideo.prompts import load_prompt_set

SCORED_TOGETHER = 16

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
    print(f"{'what':84} {'rate':>12} {'speed-up':>9}")
    for name, rate, unit, speed_up in rows:
        print(f"{name:84} {rate:8.2f} {unit:>3} {speed_up:8.1f}x")


def _filming(config: Config, prompts: list[str]) -> list[tuple[str, float, str, float]]:
    """Videos a second: one pipeline call a prompt, against fixed-shape batches; the same threads for both."""
    name, entry = next(iter(config.generators.items()))
    folder = Path("resources/models", entry.model)
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
    once, checks it against its manifest, scores in batches, and keeps each score on disk. Neither counts loading.
    """
    from promptavideo.filming import film_shard
    from promptavideo.rewards import RewardConfig, load_rewards
    from promptavideo.rewards.neural import NeuralReward
    from promptavideo.scoring import score_shard
    from promptavideo.store import Store, read_manifest
    from promptavideo.video import read_video
    from tests.fakes import Painter, prompts_table
    from tests.tiny_rewards import fetched

    shared = {"device": "cpu", "dtype": "float32"}
    entries = {
        "videoscore": {"kind": "videoscore", "model": "videoscore", **shared},
        "aesthetic": {"kind": "aesthetic", "model": "clip-l", "head": "head", **shared},
        "mps": {"kind": "mps", "model": "mps", "base": "clip-h", **shared},
    }
    adapter: TypeAdapter[dict[str, RewardConfig]] = TypeAdapter(dict[str, RewardConfig])
    rates = []
    with TemporaryDirectory() as name:
        models, manifest, store = fetched(Path(name)), Path(name, "videos.jsonl"), Store(Path(name), "world")
        rows = prompts_table({prompt: [prompt] for prompt in prompts})
        film_shard(rows, Painter(), store, manifest, "film")
        paths = [store.video(entry.key) for entry in read_manifest(manifest)]
        for batch_size in (1, SCORED_TOGETHER):
            configs = adapter.validate_python(
                {name: {**entry, "batch_size": batch_size} for name, entry in entries.items()}
            )
            rewards = load_rewards(configs, models)
            for reward in rewards.values():  # loads and warms up
                reward.score([read_video(paths[0])], prompts[:1])

            def apart(rewards=rewards) -> int:  # type: ignore[no-untyped-def]
                for reward in rewards.values():
                    for path, prompt in zip(paths, prompts, strict=True):
                        reward.score([read_video(path)], [prompt])
                return len(paths)

            def together(rewards=rewards) -> int:  # type: ignore[no-untyped-def]
                return len(score_shard(rows, manifest, rewards, store, "score"))

            rates.append(_rate(apart if batch_size == 1 else together))

        def decode() -> int:
            return len([read_video(path) for path in paths])

        def make_ready() -> int:
            for reward in rewards.values():
                assert isinstance(reward, NeuralReward)
                for clip, prompt in zip(clips, prompts, strict=True):
                    reward.prepare(reward.sample(clip), prompt)
            return len(clips)

        clips = [read_video(path) for path in paths]
        decoding, inputs = 1 / _rate(decode), 1 / _rate(make_ready)
    alone, batched = rates
    passes = len(entries)
    return [
        (f"scoring, {passes} passes ({_shares(1 / alone, passes * decoding, inputs)})", alone, "v/s", 1.0),
        (
            f"scoring, batches of {SCORED_TOGETHER} ({_shares(1 / batched, decoding, inputs)})",
            batched,
            "v/s",
            batched / alone,
        ),
    ]


def _shares(total: float, decoding: float, inputs: float) -> str:
    """What the seconds of a video go to, in milliseconds."""
    parts = {"decoding": decoding, "inputs": inputs, "networks": total - decoding - inputs}
    return ", ".join(f"{name} {1000 * spent:.1f}" for name, spent in parts.items()) + " ms"


def _rate(work: Callable[[], int]) -> float:
    began = time.perf_counter()
    done = work()
    return done / (time.perf_counter() - began)


if __name__ == "__main__":
    cli.run(parser.parse_args(), main)
