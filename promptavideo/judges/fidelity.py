"""What share of a prompt's content a refined text keeps: by its words, and by a text encoder's embeddings of them."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from promptavideo.devices import Device, choose_device, enough_memory
from promptavideo.errors import InputError
from promptavideo.judges.base import JudgeEntry, TextJudge
from promptavideo.judges.loading import load_network, load_reader, plain
from promptavideo.metrics import Metric
from promptavideo.settings import Planning, Ref

if TYPE_CHECKING:
    import torch

    from promptavideo.judges.words import Word


class FidelityConfig(JudgeEntry):
    """How much of the original prompt a refined text keeps: KEEP by words, SENSE by embeddings."""

    METRICS: ClassVar[tuple[Metric, ...]] = tuple(Metric(name, 0.0, 1.0, 5.0, "text") for name in ("KEEP", "SENSE"))

    kind: Literal["fidelity"]
    model: Annotated[str, Ref("models")]
    """A text encoder of transformers, such as all-MiniLM-L6-v2; one of several languages for prompts in them."""
    max_tokens: int = Field(128, ge=16)
    """Of one window. A longer text is read in windows that overlap by a quarter."""
    batch_size: Annotated[int, Planning()] = Field(16, ge=1)
    """Windows of one call; every call is padded to it, so that a value does not depend on its neighbours."""
    threads: Annotated[int, Planning()] = Field(1, ge=1)
    """Torch threads. Fixed here and not taken from the scheduler, since sums depend on it."""
    device: Annotated[Device, Planning()] = "auto"
    """`auto`: a GPU when there is one."""

    def load(self, folders: Mapping[str, Path]) -> "Fidelity":
        """Load the encoder."""
        return Fidelity(self, folders["model"])


def words_kept(prompt: str, refined: str) -> float:
    """The share of a prompt's content words that are in a refined text, in any place and inflection.

    Returns:
        0 to 1; 1 for a prompt without content words.
    """
    from promptavideo.judges.words import normal, words_of

    content = [word for word in words_of(normal(prompt)) if word.forms]
    there = _forms(words_of(normal(refined)))
    return sum(not there.isdisjoint(word.forms) for word in content) / len(content) if content else 1.0


class Fidelity(TextJudge):
    """Judges refined texts against their original prompts. Computes in float32, in calls of one shape."""

    def __init__(self, config: FidelityConfig, folder: Path) -> None:
        """Load a fetched encoder.

        Args:
            config: The entry.
            folder: Where the encoder is.

        Raises:
            InputError: The folder holds none, or one that reads fewer than `max_tokens` tokens; or a required GPU is
                missing or too small.
        """
        from transformers import AutoModel

        self._config = config
        self._device = choose_device(config.device, "judges.fidelity.device")
        self._tokenizer = load_reader(folder)
        if not self._tokenizer.is_fast or self._tokenizer.pad_token_id is None:
            raise InputError(f"{folder}: its tokenizer has no padding or no places of tokens; take another encoder")
        with enough_memory("take a smaller encoder, or device: cpu"):
            self._network = load_network(AutoModel, folder, "float32").to(self._device)
        limit = min(self._tokenizer.model_max_length, self._network.config.max_position_embeddings)
        if config.max_tokens > limit:
            raise InputError(f"judges.fidelity.max_tokens: {folder} reads {limit} tokens at most; lower it")

    def score(self, prompts: Sequence[str], texts: Sequence[str]) -> list[dict[str, float]]:
        """KEEP and SENSE of each text against its prompt, 0 to 1; they depend on these two alone.

        SENSE is BERTScore's recall (Zhang et al., 2020) by words: the mean, over the prompt's content words, of the
        greatest cosine between a word's embedding and that of any word of the text, where a word's embedding is the
        mean of its tokens' last states. A word that the tokenizer does not know counts as in KEEP.
        """
        pairs = list(zip(prompts, texts, strict=True))
        distinct, size = list(dict.fromkeys(pairs)), self._config.batch_size
        found: dict[tuple[str, str], dict[str, float]] = {}
        for start in range(0, len(distinct), size):
            part = distinct[start : start + size]
            read = self._read(list(dict.fromkeys(text for pair in part for text in pair)))
            for pair in part:
                found[pair] = {"KEEP": words_kept(*pair), "SENSE": _recall(*read[pair[0]], *read[pair[1]])}
        return [dict(found[pair]) for pair in pairs]

    def _read(self, texts: Sequence[str]) -> "dict[str, tuple[list[Word], torch.Tensor]]":
        """Each text's words, and their embeddings [words, width] in float64: of length 1, or 0 if unknown."""
        import torch

        from promptavideo.judges.words import normal, words_of

        torch.set_num_threads(self._config.threads)
        plainly = [plain(normal(text), self._tokenizer) for text in texts]
        windows = self._tokenizer(
            plainly,
            truncation=True,
            padding="max_length",
            max_length=self._config.max_tokens,
            stride=self._config.max_tokens // 4,
            return_overflowing_tokens=True,
            return_offsets_mapping=True,
            return_attention_mask=True,
            return_tensors="pt",
        )
        tokens, places = windows["input_ids"], windows["offset_mapping"]
        states = self._states(tokens, windows["attention_mask"])
        known = (places[..., 0] < places[..., 1]) & (tokens != self._tokenizer.unk_token_id)
        read = {}
        for index, text in enumerate(texts):
            words, own = words_of(plainly[index]), windows["overflow_to_sample_mapping"] == index
            starts, ends = places[own].flatten(0, 1).T
            spans = torch.tensor([word[:2] for word in words], dtype=places.dtype).reshape(-1, 2, 1)
            within = (starts < spans[:, 1]) & (ends > spans[:, 0]) & known[own].flatten()
            read[text] = words, torch.nn.functional.normalize(within.double() @ states[own].flatten(0, 1), dim=1)
        return read

    def _states(self, tokens: "torch.Tensor", mask: "torch.Tensor") -> "torch.Tensor":
        """The last states of windows [windows, tokens], as float64 [windows, tokens, width]."""
        import torch

        size, states = self._config.batch_size, []
        for start in range(0, len(tokens), size):
            rows = torch.arange(start, start + size).clamp(max=len(tokens) - 1)
            with torch.inference_mode(), enough_memory("lower judges.fidelity.batch_size"):
                output = self._network(
                    input_ids=tokens[rows].to(self._device), attention_mask=mask[rows].to(self._device)
                )
            states.append(output.last_hidden_state.double().cpu())
        return torch.cat(states)[: len(tokens)]


def _forms(words: "Iterable[Word]") -> set[str]:
    return {form for word in words for form in word.forms}


def _recall(words: "list[Word]", asked: "torch.Tensor", given: "list[Word]", there: "torch.Tensor") -> float:
    """SENSE of a text with the words `given`, of unit embeddings `there`, for a prompt's `words` and `asked`."""
    content = [place for place, word in enumerate(words) if word.forms]
    if not content or not given:
        return float(not content)
    best = (asked[content] @ there.T).amax(1).clamp(0, 1).tolist()
    forms = _forms(given)
    for row, place in enumerate(content):
        if not asked[place].any():
            best[row] = float(not forms.isdisjoint(words[place].forms))
    return float(sum(best) / len(best))
