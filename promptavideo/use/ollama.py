"""A Modelfile, by which Ollama runs an exported booster."""

from typing import Any

from promptavideo.boosters.config import SamplingSettings

_MARK = "@@@@"


def modelfile(tokenizer: Any, ends: list[int], sampling: SamplingSettings) -> str:
    """What stands in a Modelfile beside an exported model.

    Ollama does not read chat templates in Jinja, so the prompt's text is written out.

    Args:
        tokenizer: The exported one, whose chat template holds the instruction.
        ends: The tokens that end its turn.
        sampling: How texts are drawn.
    """
    asked = [{"role": "user", "content": _MARK}]
    text: str = tokenizer.apply_chat_template(asked, tokenize=False, add_generation_prompt=True)
    start = tokenizer("a")["input_ids"][0]
    if start == tokenizer.bos_token_id:  # Ollama puts it there itself
        text = text.removeprefix(tokenizer.bos_token)
    before, _, after = text.partition(_MARK)
    stops = [tokenizer.convert_ids_to_tokens(end) for end in ends]
    lines = [
        "FROM .",
        f'TEMPLATE """{_escaped(before)}{{{{ .Prompt }}}}{_escaped(after)}"""',
        f"PARAMETER temperature {sampling.temperature:g}",
        f"PARAMETER top_p {sampling.top_p:g}",
        f"PARAMETER top_k {sampling.top_k}",
        f"PARAMETER num_predict {sampling.max_new_tokens}",
        "PARAMETER repeat_penalty 1",
        *(f'PARAMETER stop "{stop}"' for stop in stops),
    ]
    return "\n".join(lines) + "\n"


def _escaped(text: str) -> str:
    """A text as a part of a Go template within three quotes."""
    return text.replace("{{", '{{ "{{" }}').replace('"""', '{{ "\\"\\"\\"" }}')
