"""Time our filming and our candidate sampling against the loops of the authors' scripts, side by side in one run."""

import time
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

import yaml

from promptavideo import cli
from promptavideo.boosters.chat import Instruction
from promptavideo.boosters.load import Chain
from promptavideo.config import Config, check
from promptavideo.generators import load_generator
from promptavideo.prompts import load_prompt_set

parser = cli.parser(__doc__)
parser.add_argument("--videos", type=int, default=32)
parser.add_argument("--prompts", type=int, default=24, help="prompts to draw candidates for")


def main(options: Namespace) -> None:
    """Load config.yaml, time both pairs, print a table."""
    root = Path()
    config = check(yaml.safe_load(Path("config.yaml").read_text(encoding="utf-8")), root)
    prompts = load_prompt_set("heldout", config.prompt_sets["heldout"], root)["prompt"].tolist()
    rows = [*_filming(config, prompts[: options.videos]), *_sampling(config, prompts[: options.prompts])]
    print(f"{'what':44} {'rate':>12} {'speed-up':>9}")
    for name, rate, unit, speed_up in rows:
        print(f"{name:44} {rate:8.2f} {unit:>3} {speed_up:8.1f}x")


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


def _rate(work: Callable[[], int]) -> float:
    began = time.perf_counter()
    done = work()
    return done / (time.perf_counter() - began)


if __name__ == "__main__":
    cli.run(parser.parse_args(), main)
