"""Draw refined prompts with vLLM, where it is installed: continuous batches, several times the speed on a GPU."""

import os
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from promptavideo.boosters.base import turn_ends
from promptavideo.boosters.chat import Instruction
from promptavideo.boosters.load import Chain, load_chain, load_chat_tokenizer
from promptavideo.boosters.sampling import BoosterSampler, Drawing
from promptavideo.devices import enough_memory
from promptavideo.errors import InputError, first_line

REPRODUCIBLE = {"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_BATCH_INVARIANT": "1"}
"""What vLLM's documentation asks for where a text must not depend on its neighbours in the batch. The environment wins,
for GPUs that cannot."""


class VllmSampler(BoosterSampler):
    """Draws with vLLM: the same prompt tokens and the same seeds as `generate`, drawn by other arithmetic.

    A chain of adapters is merged into a temporary folder rather than passed on as a `LoRARequest`: a request takes one
    adapter, a chain has several, and merging gives exactly the weights that the next stage trains on.
    """

    engine = "vllm"
    rows_a_call = 4096

    def __init__(self, chain: Chain, instruction: Instruction, config: Drawing, key: str = "booster") -> None:
        """Merge the chain and start the engine; see `BoosterSampler`.

        Raises:
            InputError: vLLM is not installed or does not start, or the merged model does not fit on the disk.
        """
        if find_spec("vllm") is None:
            raise InputError(
                f"{key}.sampling.engine: vllm is not installed in this environment; install it (pip install vllm), or "
                "set the engine to generate"
            )
        super().__init__(instruction, config, key)
        for name, value in REPRODUCIBLE.items():
            os.environ.setdefault(name, value)
        self.tokenizer = load_chat_tokenizer(chain.base)
        self.ends = turn_ends(chain.base, self.tokenizer)
        # Kept as long as the engine: nothing promises that it never reads the folder again.
        self._folder = TemporaryDirectory(prefix="promptavideo-booster-")
        model = _merge(chain, self.dtype, Path(self._folder.name)) if chain.adapters else chain.base
        import vllm

        settings = self.settings
        advice = f"lower {key}.sampling.gpu_memory, which is {settings.gpu_memory}, or set the engine to generate"
        try:
            with enough_memory(advice):
                self._engine: Any = vllm.LLM(
                    model=str(model),
                    dtype=self.dtype,
                    seed=0,
                    max_model_len=settings.max_prompt_tokens + settings.max_new_tokens,
                    gpu_memory_utilization=settings.gpu_memory,
                    generation_config="vllm",  # nothing of the model's own sampling defaults, as with `generate`
                )
        except (ValueError, RuntimeError) as error:
            raise InputError(f"vLLM does not start ({first_line(error)}); {advice}") from error

    def _draw(self, asked: Sequence[list[int]], seeds: Sequence[int]) -> list[str]:
        from vllm import SamplingParams

        settings = self.settings
        outputs = self._engine.generate(
            [{"prompt_token_ids": row} for row in asked],
            [
                SamplingParams(
                    temperature=settings.temperature,
                    top_p=settings.top_p,
                    top_k=settings.top_k or -1,
                    max_tokens=settings.max_new_tokens,
                    stop_token_ids=self.ends,
                    seed=seed,
                )
                for seed in seeds
            ],
            use_tqdm=False,
        )
        answers = [list(output.outputs[0].token_ids) for output in outputs]
        texts: list[str] = self.tokenizer.batch_decode(answers, skip_special_tokens=True)
        return texts


def _merge(chain: Chain, dtype: str, folder: Path) -> Path:
    """Save the chain's merged model and its tokenizer into a folder."""
    from safetensors import SafetensorError

    model, tokenizer = load_chain(chain, dtype)
    try:
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    except (OSError, SafetensorError) as error:
        size = sum(weight.numel() * weight.element_size() for weight in model.parameters()) / 1e9
        raise InputError(
            f"{folder}: the merged booster ({size:.1f} GB) cannot be written ({error}); set TMPDIR to a folder with "
            "room for it"
        ) from error
    return folder
