"""Promptist (Hao et al. 2023), a baseline of the paper: a GPT-2 that rewrites prompts for Stable Diffusion."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from promptavideo.devices import Device, choose_device, enough_memory
from promptavideo.errors import InputError
from promptavideo.hardware import device_name, environment
from promptavideo.progress import Progress
from promptavideo.refiners.base import Refiner, RefinerEntry, Tally
from promptavideo.settings import Planning, Ref
from promptavideo.tokenization import load_tokenizer

if TYPE_CHECKING:
    from promptavideo.study import Study

CUE = " Rephrase:"
"""What Promptist was trained to continue."""


class PromptistConfig(RefinerEntry):
    """Promptist, with its authors' settings."""

    network: ClassVar[bool] = True

    kind: Literal["promptist"]
    model: Annotated[str, Ref("models")]
    """Name in the model registry."""
    tokenizer: Annotated[str | None, Ref("models")] = None
    """Name in the model registry of what has the tokenizer, and the configuration if `model` has none; Promptist is
    published without a tokenizer and uses gpt2's. When absent: `model`."""
    device: Annotated[Device, Planning()] = "auto"
    """`auto`: a GPU when there is one."""
    beams: int = Field(8, ge=1)
    """Of the search, whose first result is taken."""
    max_new_tokens: int = Field(75, ge=1)
    """Longest answer."""
    length_penalty: float = -1.0
    """Below 0, shorter texts win."""
    max_words: int = Field(150, ge=1)
    """Longer texts are cut after their last whole sentence."""
    max_prompt_tokens: int = Field(128, ge=8)
    """Every prompt is padded to it."""
    batch_size: int = Field(16, ge=1)
    """Prompts of one call; every call is padded to it."""

    def load(self, name: str, track: str, study: "Study") -> Refiner:
        """Load the model in float32."""
        folders = [Path(study.layout.model(one)) for one in (self.model, self.tokenizer or self.model)]
        return Promptist(self, name, *folders)


class Promptist(Refiner):
    """The loaded model. Every call has one shape and runs on one thread, so a text depends on its prompt alone."""

    def __init__(self, config: PromptistConfig, name: str, model: Path, tokenizer: Path | None) -> None:
        """Load the model in float32.

        Args:
            config: Its entry.
            name: The refiner's name, for messages.
            model: The model's folder.
            tokenizer: The folder of its tokenizer, if another.

        Raises:
            InputError: The model or its tokenizer cannot be loaded, the weights do not fit, or no text would fit.
        """
        import torch
        from safetensors import SafetensorError
        from transformers import AutoConfig, AutoModelForCausalLM, GenerationConfig

        self._config, self._key, self._tally = config, f"refiners.{name}", Tally()
        self._device = choose_device(config.device, f"{self._key}.device")
        torch.set_num_threads(1)
        words = tokenizer or model
        self._tokenizer: Any = load_tokenizer(words)
        try:
            described = AutoConfig.from_pretrained(model if (model / "config.json").is_file() else words)
            kind: Any = AutoModelForCausalLM
            loaded, report = kind.from_pretrained(
                model,
                config=described,
                generation_config=GenerationConfig(),  # bare weights have none, and every call brings its own
                dtype=torch.float32,
                use_safetensors=True,
                output_loading_info=True,
            )
        except (OSError, ValueError, RuntimeError, SafetensorError) as error:
            raise InputError(
                f"{self._key}: {model} with the tokenizer of {words} cannot be loaded ({error})"
            ) from error
        if absent := sorted(report["missing_keys"]):
            raise InputError(f"{self._key}.model: {model} lacks weights of its architecture, first {absent[0]}")
        longest = config.max_prompt_tokens + config.max_new_tokens
        if longest > described.max_position_embeddings:
            raise InputError(
                f"{self._key}: max_prompt_tokens + max_new_tokens = {longest} is more than the model's "
                f"{described.max_position_embeddings} positions; lower max_prompt_tokens"
            )
        self._tokenizer.pad_token = self._tokenizer.eos_token
        self._model = loaded.to(self._device).eval()

    def refine(self, prompt_ids: Sequence[str], prompts: Sequence[str]) -> list[str]:
        """The best beam for each prompt, as one clean line; an empty one leaves the prompt, which is counted.

        Raises:
            InputError: A prompt is longer than `max_prompt_tokens`, the GPU's memory does not suffice, or every beam is
                empty.
        """
        asked = [self._encode(prompt) for prompt in prompts]
        progress = Progress(f"refine with {self._key}", len(asked), "prompts")
        texts: list[str] = []
        for start in range(0, len(asked), self._config.batch_size):
            rows = asked[start : start + self._config.batch_size]
            with enough_memory(f"lower {self._key}.batch_size, which is {self._config.batch_size}"):
                texts += self._continue(rows)
            progress.advance(len(rows))
        tally = self._tally = Tally()
        refined = [
            tally.read(text, prompt, self._config.max_words) for text, prompt in zip(texts, prompts, strict=True)
        ]
        tally.close(self._key)
        return refined

    def circumstances(self) -> dict[str, Any]:
        """Libraries, engine, device, and what was counted of the texts."""
        found = environment()
        engine = f"transformers {found['packages']['transformers']}"
        return {**found, "engine": engine, "device": device_name(self._device), **self._tally.record()}

    def _encode(self, prompt: str) -> list[int]:
        limit = self._config.max_prompt_tokens
        row: list[int] = self._tokenizer(prompt.strip() + CUE)["input_ids"]
        if len(row) > limit:
            raise InputError(
                f"prompt {prompt[:80]!r} takes {len(row)} tokens, more than {self._key}.max_prompt_tokens = {limit}"
            )
        return row

    def _continue(self, rows: Sequence[list[int]]) -> list[str]:
        """What follows each of at most `batch_size` token rows: everything after the padded prompt."""
        import torch
        from transformers import GenerationConfig

        from promptavideo.boosters.sampling import call_of

        config, end = self._config, self._tokenizer.eos_token_id
        shape = (config.batch_size, config.max_prompt_tokens)
        with torch.inference_mode():
            output = self._model.generate(
                **call_of(rows, shape, end, self._device),
                generation_config=GenerationConfig(
                    do_sample=False,
                    num_beams=config.beams,
                    max_new_tokens=config.max_new_tokens,
                    length_penalty=config.length_penalty,
                    eos_token_id=end,
                    pad_token_id=end,
                ),
            )
        answers = output[: len(rows), config.max_prompt_tokens :]
        texts: list[str] = self._tokenizer.batch_decode(answers, skip_special_tokens=True)
        return texts
