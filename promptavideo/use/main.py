"""The command `promptavideo`: results alone on standard output, all else on standard error.

Exit status 2 is for a command that cannot be meant, 1 for whatever else went wrong. Heavy packages are imported when a
command is known: `--help` must answer at once.
"""

import argparse
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from promptavideo import __version__
from promptavideo.errors import PromptAVideoError, UsageError

Say = Callable[[str], None]
"""Prints a line of results."""

BOOSTER = (
    "the folder of a run's booster or of an exported model, or OWNER/NAME@COMMIT of the Hub; when absent, the last "
    "booster of the run in this folder"
)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    whole = argparse.ArgumentParser(
        prog="promptavideo", description="Rewrite short prompts into ones that a video generator films better."
    )
    whole.add_argument("--version", action="version", version=f"promptavideo {__version__}")
    commands = whole.add_subparsers(title="commands", required=True, metavar="COMMAND")
    boost = commands.add_parser(
        "boost", help="rewrite prompts, and film them if asked", description="Rewrite prompts with a trained booster."
    )
    boost.add_argument("prompt", nargs="?", help="what the video shall show; - reads prompts, one a line, from a pipe")
    boost.add_argument("--file", type=Path, help="a text file with one prompt a line; one line a prompt comes out")
    boost.add_argument("--booster", help=BOOSTER)
    boost.add_argument(
        "--instruction", type=Path, help="with a model whose chat template does not ask: a text with $prompt"
    )
    boost.add_argument("-n", "--variants", type=_count, default=1, metavar="N", help="texts of each prompt (1)")
    boost.add_argument("--seed", type=_seed, help="of drawing and filming; when absent, that of the booster's run")
    boost.add_argument("--json", action="store_true", help="one JSON object a prompt")
    boost.add_argument("--negative", action="store_true", help="a negative prompt for each text too, behind a tab")
    boost.add_argument("--negative-booster", metavar="BOOSTER", help="what writes them; when absent, the run's own")
    boost.add_argument("--max-tokens-of", metavar="GENERATOR", help="cut texts to what this generator's encoder reads")
    boost.add_argument("--film", metavar="GENERATOR", help="film the prompt and its text with one seed, and judge both")
    boost.add_argument(
        "--best-of", type=_count, metavar="N", help="with --film: film N texts, keep what judges like best"
    )
    boost.add_argument("--out", type=Path, help="with --film: folder for the videos, ./boosted/... when absent")
    boost.add_argument("--device", choices=("auto", "cpu", "cuda"), help="in place of the run's")
    boost.add_argument(
        "--fast", action="store_true",
        help="compute no more rows than asked for: several times faster for few prompts, now and then another text",
    )  # fmt: skip
    boost.add_argument("--quiet", action="store_true", help="warnings only, no progress")
    boost.set_defaults(work=_boost)
    export = commands.add_parser(
        "export", help="make a plain model folder of a booster",
        description="Make a model folder of a booster that any OpenAI-compatible server runs.",
    )  # fmt: skip
    export.add_argument("booster", help=BOOSTER.partition(";")[0])
    export.add_argument("folder", type=Path, help="the folder to make")
    export.add_argument(
        "--dtype",
        choices=("auto", "float32", "bfloat16", "float16"),
        default="auto",
        help="of its weights; auto: the base model's",
    )
    export.add_argument("--quiet", action="store_true", help="warnings only, no progress")
    export.set_defaults(work=_export)
    demo = commands.add_parser(
        "demo", help="compare original and refined videos on a page of this machine",
        description="Serve a page on 127.0.0.1: type a prompt, see what boosters make of it, filmed and judged.",
    )  # fmt: skip
    demo.add_argument("--booster", action="append", default=[], help=f"{BOOSTER}; again for more of them")
    demo.add_argument("--generator", help="what films; when absent, the first that the run's boosters learn from")
    demo.add_argument("--port", type=_port, default=7860)
    demo.add_argument("--quiet", action="store_true", help="warnings only, no progress")
    demo.set_defaults(work=_demo)
    return whole


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out a command.

    Args:
        arguments: Those of the command line; the process's own when absent.

    Returns:
        The exit status: 0, 1 if something went wrong, 2 if the command cannot be meant.
    """
    try:
        options = parser().parse_args(arguments)
    except SystemExit as left:  # argparse has said why
        return int(left.code or 0)
    with _results() as results:
        return _carried_out(options, results)


def _carried_out(options: argparse.Namespace, results: IO[str]) -> int:
    try:
        _set_up(options)
        options.work(options, lambda line: print(line, file=results, flush=True))
    except UsageError as error:
        return _said(error, 2)
    except (PromptAVideoError, OSError) as error:
        if isinstance(error, BrokenPipeError):  # who reads has enough; nor does what is left go anywhere
            os.dup2(os.open(os.devnull, os.O_WRONLY), results.fileno())
            return 1
        return _said(error, 1)
    except KeyboardInterrupt:
        return _said("interrupted", 130)
    except Exception as error:
        from promptavideo.devices import ran_out

        if not ran_out(error):
            raise
        from promptavideo.errors import first_line

        return _said(f"memory does not suffice ({first_line(error)}); take a smaller model, or a larger machine", 1)
    return 0


def _boost(options: argparse.Namespace, say: Say) -> None:
    prompts = _prompts(options)
    from promptavideo.use.boost import Boost
    from promptavideo.use.source import find, negative_for

    source = find(options.booster, options.instruction).on(options.device)
    negative = None
    if options.negative or options.negative_booster:
        wanted = options.negative_booster
        negative = (find(wanted) if wanted else negative_for(source)).on(options.device)
    count = options.best_of or options.variants
    fits = None
    if options.max_tokens_of:
        from promptavideo.use.film import reads
        from promptavideo.use.source import study_for

        fits = reads(study_for(source), options.max_tokens_of)
    if options.film:
        _film(
            options, source, prompts[0], lambda: Boost(source, options.seed, negative, fits, _rows(options, count)), say
        )
        return
    boost = Boost(source, options.seed, negative, fits, _rows(options, count * len(prompts)))
    for one in boost.stream(prompts, count):
        if options.json:
            say(as_json(one, source.name, boost.seed))
        else:
            for variant in one.variants:
                say("\t".join([variant.text, *([variant.negative or ""] if negative else [])]))


def _film(options: argparse.Namespace, source: Any, prompt: str, load: Callable[[], Any], say: Say) -> None:
    from promptavideo.use import film
    from promptavideo.use.source import study_for

    study = study_for(source)
    film.check(study, options.film, options.best_of is not None)
    boost = load()
    (boosted,) = boost.write([prompt], options.best_of or 1)
    del boost.sampler  # its memory is the generator's now
    look = film.Studio(study, options.film).look(boosted, boost.seed)
    folder = film.write(look, options.out or Path("boosted", film.folder_name(look)))
    for line in film.lines(look):
        print(line, file=sys.stderr)
    say(film.as_json(look, folder) if options.json else look.kept.text)
    print(f"videos and scores: {folder}", file=sys.stderr)


def _export(options: argparse.Namespace, say: Say) -> None:
    from promptavideo.use.export import export
    from promptavideo.use.source import find

    export(find(options.booster), options.folder, options.dtype)
    say(str(options.folder))


def _demo(options: argparse.Namespace, say: Say) -> None:
    from promptavideo.use import demo, film
    from promptavideo.use.source import study_here

    study = study_here("the demo")
    generator = options.generator or study.tracks[0]
    film.check(study, generator)
    demo.serve(study, generator, options.booster, options.port)


def as_json(boosted: Any, booster: str, seed: int) -> str:
    """A line that says all of a prompt and its texts.

    Args:
        boosted: A `boost.Boosted`.
        booster: What wrote them.
        seed: With which they were drawn.
    """
    import json
    from dataclasses import asdict

    variants = [{key: value for key, value in asdict(one).items() if value} for one in boosted.variants]
    said = {"prompt": boosted.prompt, "prompt_id": boosted.prompt_id, "booster": booster, "seed": seed}
    return json.dumps(said | {"variants": variants}, ensure_ascii=False)


def _prompts(options: argparse.Namespace) -> list[str]:
    """The prompts, checked; an option that cannot be meant is named before anything is loaded."""
    if (options.prompt is None) == (options.file is None):
        raise UsageError("give one prompt in quotes, - for prompts from a pipe, or --file")
    if options.best_of and not options.film:
        raise UsageError("--best-of: films, so it needs --film GENERATOR")
    if options.best_of and options.variants > 1:
        raise UsageError("-n and --best-of: give one of them")
    if options.film and options.variants > 1:
        raise UsageError("-n: with --film it is --best-of that says how many texts are filmed")
    if options.out and not options.film:
        raise UsageError("--out: is where videos go, so it needs --film GENERATOR")
    if options.film and (options.file or options.prompt == "-"):
        raise UsageError("--film: films one prompt, given as an argument")
    from promptavideo.use import prompts

    if options.file:
        return prompts.of_file(options.file)
    if options.prompt == "-":
        return list(prompts.of_bytes(sys.stdin.buffer.read()))
    return [prompts.one(options.prompt)]


def _rows(options: argparse.Namespace, wanted: int) -> int | None:
    return wanted if options.fast else None


def _count(text: str) -> int:
    return _number(text, 1, 1000)


def _port(text: str) -> int:
    return _number(text, 1, 65535)


def _seed(text: str) -> int:
    return _number(text, 0, 2**31 - 1)


def _number(text: str, least: int, most: int) -> int:
    try:
        value = int(text)
    except ValueError:
        value = least - 1
    if not least <= value <= most:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from {least} to {most}")
    return value


def _set_up(options: argparse.Namespace) -> None:
    import logging
    import warnings

    from promptavideo.cli import quiet_libraries

    if sys.stderr.isatty() and not options.quiet:  # a download of gigabytes shows how far it is
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "0")
    quiet_libraries()
    warnings.simplefilter("ignore")  # of libraries, to those who use them
    level = logging.WARNING if options.quiet else logging.INFO
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr, force=True)
    logging.getLogger("promptavideo").setLevel(level)


def _said(error: object, status: int) -> int:
    print(f"promptavideo: {error}", file=sys.stderr, flush=True)
    return status


@contextmanager
def _results() -> Iterator[IO[str]]:
    """Standard output for results; what libraries and programs print goes to standard error until this ends."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        with os.fdopen(os.dup(kept), "w", encoding="utf-8") as results:
            yield results
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)


if __name__ == "__main__":
    sys.exit(main())
