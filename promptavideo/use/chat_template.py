"""A chat template that asks as a booster is asked, so that a user's message is the bare prompt."""

import json
from typing import Any

from promptavideo.boosters.base import TEMPLATE_OPTIONS
from promptavideo.boosters.chat import Instruction
from promptavideo.errors import InputError

PROBES = (
    "a red ball moves left",
    'a "quoted" \\ {{ brace }} {% if %} $dollar',
    "  two spaces, и Привет 東京 🙂  ",
    "line\nline",
)
"""Prompts with which a template is tried."""

_MARK = "\x00"


def asking(tokenizer: Any, instruction: Instruction) -> str:
    """The template of a chat model with an instruction in it.

    Each turn of a user becomes the instruction with what the user says as its prompt. System messages are dropped: the
    booster was trained without, and clients send some of their own. Options that the booster's training set are set.

    Args:
        tokenizer: The base model's.
        instruction: How the booster was trained to be asked.

    Returns:
        A Jinja template that renders `[{"role": "user", "content": prompt}]` as the tokenizer's own renders
        `instruction.ask(prompt)`.

    Raises:
        InputError: The tokenizer's template cannot be wrapped so.
    """
    own = tokenizer.chat_template
    base = own["default"] if isinstance(own, dict) else own
    pieces = instruction.template.substitute(prompt=_MARK).split(_MARK)
    text = " ~ said ~ ".join(_literal(piece) for piece in pieces)
    options = "".join(f"{{%- set {name} = {_literal(value)} -%}}" for name, value in TEMPLATE_OPTIONS.items())
    # The last tag ends a line, which Jinja drops: what follows begins as the base template does.
    template = (
        f"{options}"
        "{%- set asked = namespace(turns=[]) -%}"
        "{%- for turn in messages if turn['role'] != 'system' -%}"
        "{%- if turn['role'] == 'user' -%}"
        "{%- set said = turn['content'] if turn['content'] is string else "
        "turn['content'] | selectattr('text', 'defined') | map(attribute='text') | join('') -%}"
        f"{{%- set asked.turns = asked.turns + [{{'role': 'user', 'content': {text}}}] -%}}"
        "{%- else -%}{%- set asked.turns = asked.turns + [turn] -%}{%- endif -%}"
        "{%- endfor -%}"
        "{%- set messages = asked.turns %}\n"
        f"{base}"
    )
    _try(tokenizer, template, instruction)
    return template


def _try(tokenizer: Any, template: str, instruction: Instruction) -> None:
    """Check that the template renders what the base's own does.

    Raises:
        InputError: It does not, or cannot be rendered.
    """

    def rendered(conversation: list[dict[str, Any]], **options: Any) -> str:
        return tokenizer.apply_chat_template(conversation, tokenize=False, add_generation_prompt=True, **options)

    for prompt in PROBES:
        bare: list[dict[str, Any]] = [{"role": "user", "content": prompt}]
        expected = rendered(list(instruction.ask(prompt)), **TEMPLATE_OPTIONS)
        try:
            found = rendered([{"role": "system", "content": "Be brief."}, *bare], chat_template=template)
        except Exception as error:  # Jinja's own, and those that templates raise
            raise InputError(
                f"the base model's chat template cannot hold the booster's instruction ({error})"
            ) from error
        if found != expected:
            raise InputError(
                f"the base model's chat template cannot hold the booster's instruction: of {prompt!r} it makes "
                f"{found[:200]!r} in place of {expected[:200]!r}"
            )


def _literal(value: object) -> str:
    """A Jinja literal: its escapes in texts are those of JSON."""
    return json.dumps(value, ensure_ascii=False)
