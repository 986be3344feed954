"""What an operator is, what it is asked, and how its answer is read."""

import html
import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any, ClassVar, Literal

import yaml
from pydantic import Field

from promptavideo.answers import LIST_MARK, fit, foreign_script, no_prompt, without_thoughts
from promptavideo.errors import InputError
from promptavideo.reading import Fits, anything
from promptavideo.settings import Entry, Section
from promptavideo.text import clean, clean_lines, count_words, text_key

Key = tuple[str | int, ...]
"""Names a request, e.g. (generator, run seed, prompt id, round): the seed and the cache entry of its answer."""

EVOLUTION_PLACEHOLDERS = ("history", "variants")
"""What a template of the evolution must contain; it may have `$limit`, for how much of a prompt the generator reads."""

REFINE_PLACEHOLDERS = ("prompt",)
"""What a template of a rewrite without scores must contain."""

FEW_SHOT_PLACEHOLDERS = ("prompt", "examples")
"""The same, for a rewrite that is given examples."""

_PLACEHOLDERS = ("prompt", "history", "variants", "examples", "limit")


class OperatorEntry(Entry):
    """The configuration of any operator. What it decides are the answers."""

    kept: ClassVar[bool] = False
    """Whether answers are paid for, so that they are kept and a run asks each question once."""

    def price(self, prompt_tokens: int, answer_tokens: int) -> float:
        """Of one request."""
        return 0.0

    @property
    def source(self) -> str:
        """Who answers, for comparing with the paper's operators."""
        return "no model"

    @abstractmethod
    def load(self, name: str, store: Path | None) -> "Operator":
        """Make the operator.

        Args:
            name: Its name.
            store: The folder that keeps what was paid for; an operator without costs needs none.

        Raises:
            InputError: It cannot be asked from here, e.g. because its key is missing.
        """


@dataclass(frozen=True)
class Scored:
    """An earlier prompt with its seven scores on the 0-5 scale, {dimension: score}."""

    prompt: str
    scores: Mapping[str, float]


@dataclass(frozen=True)
class Request:
    """What an operator is asked about one prompt: an instruction, and what `render_instruction` filled it with."""

    instruction: str
    """The whole instruction, which is all that a language model reads."""
    key: Key
    prompt: str = ""
    """The original prompt; a variant equal to it is of no use."""
    history: Sequence[Scored] = ()
    """Earlier prompts, the original first."""
    variants: int = 1
    """How many are wanted."""
    filmed: Collection[str] = ()
    """Texts filmed for this prompt, to which an equal variant is of no use either."""
    wants: Literal["prompt", "negative"] = "prompt"
    """Another wording of the prompt, or a negative prompt for it."""
    examples: "Sequence[Example]" = ()
    """Those that the instruction shows."""
    fits: Fits = anything
    """What is not short enough is cut."""


@dataclass(frozen=True)
class Answer:
    """What came of a request: a text, or the fault for which there is none."""

    text: str
    fault: str = ""


class Operator(ABC):
    """Something that reads an instruction and writes prompts: a language model, or a stand-in for one.

    >>> from promptavideo.operators.base import Operator, Request, TextLimits, parse_variants
    >>> class Adjectives(Operator):
    ...     def answer(self, request):
    ...         return "".join(f"<PROMPT>a {word} {request.prompt}</PROMPT>" for word in ("red", "small"))
    >>> key = ("some-generator", 1, "some-prompt")
    >>> said = Adjectives().answer(Request("Write two variants of: cat on a wall", key, "cat on a wall", variants=2))
    >>> parse_variants(said, wanted=2, limits=TextLimits()).variants
    ('a red cat on a wall', 'a small cat on a wall')
    """

    @abstractmethod
    def answer(self, request: Request) -> str:
        """The answer to one request, as free text; equal requests get the same, as far as the operator can."""

    def answer_all(self, requests: Sequence[Request]) -> list[Answer]:
        """The answers to many requests, in order; a subclass may ask for several at once.

        Answers to requests that were asked before an error are not lost, if the operator keeps answers at all.
        """
        return [Answer(self.answer(request)) for request in requests]


@dataclass(frozen=True)
class Example:
    """A prompt and a good answer about it."""

    prompt: str
    refined: str
    """How it was refined, or the negative prompt that goes with it."""


def read_template(path: Path, required: Collection[str]) -> str:
    """Read an instruction template (`string.Template` style, the placeholders are `$prompt` and so on, `$$` a dollar).

    Args:
        path: A UTF-8 text file.
        required: The placeholders that it must contain.

    Raises:
        InputError: The file cannot be read, lacks a required placeholder, or has an unknown one.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: the instruction template cannot be read ({error})") from error
    template = Template(text)
    if not template.is_valid():
        raise InputError(f"{path}: a lone $ is not a placeholder; write $$ for a dollar sign")
    found = template.get_identifiers()
    listed = ", ".join(f"${name}" for name in _PLACEHOLDERS)
    for name in found:
        if name not in _PLACEHOLDERS:
            raise InputError(f"{path}: unknown placeholder ${name}; known are {listed}; write $$ for a dollar sign")
    for name in required:
        if name not in found:
            raise InputError(f"{path}: the placeholder ${name} is missing")
    if "examples" in found and "examples" not in required:
        raise InputError(f"{path}: $examples is only for a refiner that names a file of examples")
    if "limit" in found and "history" not in required:
        raise InputError(f"{path}: $limit is only for the evolution")
    return text


def read_examples(path: Path, answer: str) -> list[Example]:
    """Read examples from a YAML list of {prompt: ..., ANSWER: ...}.

    Args:
        path: The file.
        answer: The key of the answer, such as `refined`.

    Raises:
        InputError: The file cannot be read, is empty, or an entry is not a pair of two texts.
    """
    try:
        entries = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"{path}: the examples cannot be read ({error})") from error
    if not isinstance(entries, list) or not entries:
        raise InputError(f"{path}: must be a list of examples, each with `prompt:` and `{answer}:`")
    return [_example(entry, answer, f"{path}, example {number}") for number, entry in enumerate(entries, 1)]


def _example(entry: Any, answer: str, where: str) -> Example:
    fields = ("prompt", answer)
    if not isinstance(entry, dict) or set(entry) != set(fields):
        raise InputError(f"{where}: must have `prompt:` and `{answer}:` and nothing else")
    for field in fields:
        if not isinstance(entry[field], str) or not clean(entry[field]):
            raise InputError(
                f"{where}: `{field}:` must be a text; put it in quotes if it looks like a number or a date"
            )
    return Example(entry["prompt"], entry[answer])


def render_instruction(
    template: str,
    prompt: str,
    history: Sequence[Scored] = (),
    variants: int = 1,
    examples: Sequence[Example] = (),
    example: str = "Short",
    limit: str = "",
) -> str:
    """Fill a template.

    Substituted texts are never scanned again, so prompts may hold braces and dollars; each is put on one line, so a
    prompt cannot forge a line of the history.

    Args:
        template: The template's text, as `read_template` returns it.
        prompt: The original prompt, for `$prompt`.
        history: Earlier prompts for `$history`, the original first: it gets index 0.
        variants: How many paraphrases to ask for, for `$variants`.
        examples: Good answers, for `$examples`.
        example: What the prompt of an example is called.
        limit: A rule that says how much of a prompt the generator reads, for `$limit`.
    """
    return Template(template if limit else template.replace("$limit\n", "")).substitute(
        prompt=clean(prompt),
        limit=limit,
        history=_render_history(history),
        variants=variants,
        examples="\n\n".join(
            f"{example}: {clean(one.prompt)}\n<PROMPT>{clean(one.refined)}</PROMPT>" for one in examples
        ),
    )


def _render_history(history: Sequence[Scored]) -> str:
    lines = []
    for index, scored in enumerate(history):
        values = ", ".join(f"{metric} {value:.2f}" for metric, value in scored.scores.items())
        lines += [f"Prompt {index}: {clean(scored.prompt)}", f"Scores {index}: {values}"]
    return "\n".join(lines)


class TextLimits(Section):
    """Bounds on the texts taken from an operator's answer."""

    max_characters: int = Field(default=1000, ge=1)
    """A longer variant is dropped."""
    max_words: int = Field(default=150, ge=1)
    """A variant of more words is dropped."""
    max_answer_characters: int = Field(default=20_000, ge=1)
    """What an answer holds beyond this is not read."""
    script: str | None = Field(default=None, pattern=r"^[a-z]+$")
    """Of a variant's letters, as Unicode's names of them begin, e.g. `latin` or `cjk`: a variant of which more than a
    fifth is of others is dropped. null: any."""


@dataclass(frozen=True)
class Parsed:
    """The usable variants of an answer, in its order, and short reasons for what was dropped."""

    variants: tuple[str, ...]
    dropped: tuple[str, ...]


# Every quantifier is bounded, so that no text makes these slow.
_TAG = re.compile(r"<\s{0,3}(/?)\s{0,3}prompt(?:[\s_#-]{0,2}\d{1,3}|\s[^<>]{0,40})?\s{0,3}>", re.IGNORECASE)
_MARKUP = re.compile(r"<[^<>]{1,40}>|\*{2,3}|`{1,3}")
_BARE_WORDS = 3  # that an answer without tags must have, so that "no" or "Sure!" is none
_LONG_REFERENCE = re.compile(r"&#[xX]?[0-9a-fA-F]{8,}")  # html.unescape raises on thousands of digits
_QUOTES = {'"': '"', "'": "'", "\u201c": "\u201d", "\u2018": "\u2019", "\u00ab": "\u00bb"}
_SENTENCE_ENDS = tuple(".!?\"'\u201d\u2019)")


def parse_variants(
    answer: str,
    wanted: int,
    limits: TextLimits,
    original: str = "",
    filmed: Collection[str] = (),
    instruction: str = "",
    fits: Fits = anything,
) -> Parsed:
    """Read the texts between `<PROMPT>` and `</PROMPT>` in what a language model sent, after its thoughts.

    An unclosed text is taken up to the next tag or blank line; the last one only if it ends as a sentence does, for
    else it was cut off. Of nested texts the innermost counts. Of an answer without tags one paragraph is taken if one
    variant is wanted, and nothing is guessed else. Takes time linear in the length of `answer` and never raises on it.

    Args:
        answer: The operator's answer, any text.
        wanted: Keep at most this many variants.
        limits: Bounds on lengths.
        original: The original prompt; a variant equal to it is dropped.
        filmed: Texts already filmed for this prompt; a variant equal to one is dropped.
        instruction: What was asked; a variant that stands there between tags is an echo, and dropped.
        fits: A variant that does not is cut, see `answers.fit`.
    """
    dropped: Counter[str] = Counter()
    if len(answer) > limits.max_answer_characters:
        dropped[f"answer cut at {limits.max_answer_characters} characters"] += 1
        answer = answer[: limits.max_answer_characters]
    said = without_thoughts(answer)
    blocks = _tagged(said) or (_bare(said) if wanted == 1 else [])
    if not blocks:
        dropped["no <PROMPT> tags" if said.strip() or not answer.strip() else "thoughts without an answer"] += 1
    original_key, filmed_keys = text_key(original), {text_key(text) for text in filmed}
    echoes = {text_key(_trim(content)) for content, _ in _tagged(instruction)}
    variants: dict[str, str] = {}
    for content, fault in blocks:
        text, _ = fit(_trim(content), fits)
        key = text_key(text)
        if fault := no_prompt(_MARKUP.sub(" ", content)) or fault:
            dropped[fault] += 1
        elif key in echoes:
            dropped["an echo of the instruction"] += 1
        elif len(text) > limits.max_characters:
            dropped[f"longer than {limits.max_characters} characters"] += 1
        elif count_words(text) > limits.max_words:
            dropped[f"longer than {limits.max_words} words"] += 1
        elif foreign_script(text, limits.script):
            dropped[f"not in {limits.script} script"] += 1
        elif key == original_key:
            dropped["equal to the original"] += 1
        elif key in filmed_keys:
            dropped["already filmed"] += 1
        elif key in variants:
            dropped["repeated"] += 1
        elif len(variants) == wanted:
            dropped["more than wanted"] += 1
        else:
            variants[key] = text
    return Parsed(
        tuple(variants.values()),
        tuple(reason if count == 1 else f"{reason} ({count} times)" for reason, count in dropped.items()),
    )


@dataclass
class _Block:
    """A tagged text: where it starts, where its first inner or closing tag stands, and what became of it."""

    start: int
    end: int | None = None
    nested: bool = False
    closed: bool = False


def _blocks(text: str) -> list[tuple[str, str]]:
    """The tagged texts in order, each with the fault that makes it unusable or ""."""
    blocks: list[_Block] = []
    open_blocks: list[_Block] = []
    for tag in _TAG.finditer(text):
        inner = open_blocks[-1] if open_blocks else None
        if inner and inner.end is None:
            inner.end = tag.start()
        if tag[1]:
            if inner:
                inner.closed = True
                open_blocks.pop()
        else:
            if inner:
                inner.nested = True
            open_blocks.append(_Block(tag.end()))
            blocks.append(open_blocks[-1])
    found = []
    for block in blocks:
        content, fault = text[block.start : block.end], ""
        if block.closed and block.nested:
            fault = "tags inside it"
        elif not block.closed:
            content = content.strip().split("\n\n", 1)[0]
            if block.end is None and not content.endswith(_SENTENCE_ENDS):
                fault = "cut off"
        found.append((content, fault))
    return found


def _tagged(text: str) -> list[tuple[str, str]]:
    """The tagged texts of an answer or an instruction, whatever its entities and line ends."""
    return _blocks("\n".join(clean_lines(html.unescape(_LONG_REFERENCE.sub(" ", text)))))


def _bare(text: str) -> list[tuple[str, str]]:
    """An answer without tags, if it is one paragraph, perhaps after a line that announces it."""
    paragraphs = [part for part in "\n".join(clean_lines(text)).split("\n\n") if part.strip()]
    if len(paragraphs) == 2 and paragraphs[0].rstrip().endswith(":"):
        del paragraphs[0]
    return [(paragraphs[0], "")] if len(paragraphs) == 1 and count_words(paragraphs[0]) >= _BARE_WORDS else []


def _trim(content: str) -> str:
    """One line without markup, list mark and enclosing quotes."""
    text = clean(_MARKUP.sub(" ", content))
    text = text[mark.end() :] if (mark := LIST_MARK.match(text)) else text
    if len(text) > 1 and _QUOTES.get(text[0]) == text[-1] and not {text[0], text[-1]} & set(text[1:-1]):
        text = text[1:-1]
    return clean(text)
