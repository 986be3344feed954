"""Film prompts with Open-Sora 1.2, each with its own seed. Runs in that project's checkout and environment.

Its scripts/inference.py draws the noise of all prompts from one random stream, so that a video would depend on its
place in the file. It also obeys its prompts: `{"reference_path": ...}` in one opens a file or an address. So that
script runs here as it is, except for these functions: what reads the prompts gives texts and nothing else, names come
from our file, and noise comes from each video's seed. OUTPUT/record.json names the weights that it read.

    python opensora_film.py PROMPTS.jsonl OUTPUT CONFIG [further arguments of scripts/inference.py]

PROMPTS.jsonl holds {"text", "seed", "output"} a line. Written for Python 3.9, and needs nothing of this repository.
"""

import importlib.util
import json
import os
import re
import sys
from pathlib import Path
from typing import Any

REPLACED = (
    "load_prompts",
    "extract_json_from_prompts",
    "split_prompt",
    "extract_prompts_loop",
    "get_save_path_name",
    "apply_mask_strategy",
)
"""Functions that scripts/inference.py of v1.2.0 takes from opensora.utils.inference_utils."""


def main(prompts: str, output: str, arguments: "list[str]") -> None:
    """Run scripts/inference.py of the current folder over a file of prompts."""
    with Path(prompts).open(encoding="utf-8") as stream:
        jobs = [json.loads(line) for line in stream]
    weights = _note_weights()
    sys.path.insert(0, str(Path.cwd()))
    spec = importlib.util.spec_from_file_location("opensora_inference", "scripts/inference.py")
    assert spec is not None and spec.loader is not None
    inference: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(inference)
    missing = [name for name in REPLACED if not hasattr(inference, name)]
    if missing:
        sys.exit(f"scripts/inference.py has no {', '.join(missing)}: check out tag v1.2.0 of Open-Sora")
    filmed = _replace(inference, jobs)
    one_by_one = ["--batch-size", "1", "--num-sample", "1", "--loop", "1"]
    sys.argv = ["scripts/inference.py", *arguments, "--prompt-path", prompts, "--save-dir", output, *one_by_one]
    inference.main()
    if len(filmed) != len(jobs):
        sys.exit(f"noise was drawn for {len(filmed)} of {len(jobs)} videos: this is not Open-Sora v1.2.0")
    Path(output, "record.json").write_text(json.dumps({"weights": weights}), encoding="utf-8")


def _note_weights() -> "dict[str, str]":
    """The Hub's repositories and commits of which files are opened from now on: paths in its cache name both."""
    found: dict[str, str] = {}

    def note(event: str, arguments: Any) -> None:
        if event == "open" and isinstance(arguments[0], (str, os.PathLike)):
            named = re.search(r"models--([^/]+)/snapshots/([0-9a-f]{40})/", os.fspath(arguments[0]))
            if named:
                found[named[1].replace("--", "/", 1)] = named[2]

    sys.addaudithook(note)
    return found


def _replace(inference: Any, jobs: "list[dict[str, Any]]") -> "list[int]":
    """Replace the functions; the list returned grows by the seed of each video as its noise is drawn."""
    import torch

    drawn: list[int] = []
    mask = inference.apply_mask_strategy

    def with_noise_of_its_own(z: Any, *rest: Any, **options: Any) -> Any:
        seed = jobs[len(drawn)]["seed"]
        drawn.append(seed)
        torch.manual_seed(seed)
        z.copy_(torch.randn(z.shape, device=z.device, dtype=z.dtype))
        return mask(z, *rest, **options)

    def path(folder: str, sample_idx: int, **_: Any) -> str:
        return os.path.join(folder, os.path.splitext(jobs[sample_idx]["output"])[0])  # noqa: PTH118, PTH122

    inference.load_prompts = lambda *_: [job["text"] for job in jobs]
    inference.extract_json_from_prompts = lambda texts, references, masks: (texts, references, masks)
    inference.split_prompt = lambda text: ([text], None)
    inference.extract_prompts_loop = lambda texts, _: texts
    inference.get_save_path_name = path
    inference.apply_mask_strategy = with_noise_of_its_own
    return drawn


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
