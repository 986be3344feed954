"""The model card beside a booster's adapter: what it is, what it was made from, and how to load it."""

from collections.abc import Mapping
from pathlib import Path
from string import Template
from typing import Any

from promptavideo.files import write_text

METHODS = {
    "sft": "supervised fine-tuning on (prompt, answer) pairs",
    "dpo": "direct preference optimisation on (prompt, better, worse) triples, against the model it starts from",
}
CARD = Template("""---
library_name: peft
base_model: $base
tags: [lora, prompt-refinement, text-to-video]
---

# Booster `$name`

A LoRA adapter that teaches a chat model to answer the instruction below so that a text-to-video generator films a
prompt better (Prompt-A-Video, arXiv 2412.15156).

| | |
|---|---|
| base model | $source |
| base model's digest | `$digest` |
| starts from | $start |
| method | $method |
| data | $examples examples$released, SHA-256 `$data` |
| steps | $steps of $batch_size examples, on $devices device(s) |
| weights while training | $dtype |
| trained on | $trained_on |
| learning rate, epochs | $learning_rate, $epochs |
| LoRA | r $r, alpha $alpha, dropout $dropout, on $targets of $layers |
| seed | $seed |

The full settings are in `../booster.json`, the losses of every step in `../log.csv`.

## Metrics of the last step

| metric | value |
|---|---|
$metrics

They are measured on the training data; how the booster does on held-out prompts is in the run's tables.

## Use

Ask with the instruction in `../booster.json` (`$$prompt` stands for the prompt), as the user's turn of the base model's
chat template. In a checkout of the project:

```python
from pathlib import Path
from promptavideo.boosters.load import load_chain, read_chain

model, tokenizer = load_chain(read_chain(Path("BASE MODEL"), Path("THIS BOOSTER")), "$dtype")
```

With peft alone: load the base model in float32; for each adapter of the chain, first trained first,
`model = PeftModel.from_pretrained(model, ADAPTER).merge_and_unload()`; then cast.

## License

The adapter is a derivative of its base model: the base model's license and terms of use apply to it, and those of the
prompts in its data. See the base model's own card.
""")


def write_readme(folder: Path, name: str, card: Mapping[str, Any], metrics: Mapping[str, float]) -> None:
    """Write `README.md` into an adapter's folder, over the form that peft leaves there.

    Args:
        folder: The adapter's folder.
        name: The booster's name.
        card: What is written to `booster.json`.
        metrics: The training log's last step, by column.
    """
    base, lora = card["base_model"], card["settings"]["lora"]
    source = base["name"] if base["kind"] == "local" else base["source"]  # a folder of this machine says nothing
    known = f"{source}, revision {base['revision']}" if base["revision"] else source
    in_words = {
        "name": name,
        "base": base["source"] if base["kind"] == "hub" else base["name"],
        "source": known,
        "digest": card["base"],
        "start": "the base model" if card["previous"] is None else f"booster `{card['previous']}`, merged",
        "method": METHODS.get(card["stage"], card["stage"]),
        "trained_on": "; then ".join(_session(one) for one in card["trained_on"]),
        "metrics": "\n".join(f"| {column} | {value:.6g} |" for column, value in metrics.items()),
        "layers": "all layers" if lora["layers"] is None else f"the last {lora['layers']} layers",
        "targets": ", ".join(lora["targets"]),
        "released": "".join(map(_released, card.get("released_pairs", []))),
    }
    text = CARD.substitute({**card["settings"], **lora, **card, **in_words})
    write_text(folder / "README.md", text)


def _released(pairs: Mapping[str, Any]) -> str:
    """Where released pairs come from; a folder of this machine says nothing."""
    source = pairs["source"]
    known = source.get("repo_id") or source.get("url") or "this machine"
    revision = f" at revision {pairs['revision']}" if pairs["revision"] else ""
    files = ", ".join(f"{file} {digest}" for file, digest in pairs["files"].items())
    return f", released pairs of {known}{revision} ({files})"


def _session(machine: Mapping[str, Any]) -> str:
    """A machine that trained, and the libraries that decide what it computes."""
    libraries = ", ".join(f"{name} {machine['packages'][name]}" for name in ("torch", "transformers", "trl", "peft"))
    return f"{machine['device']}, Python {machine['python']}, {libraries}"
