"""Stands in for scripts/inference.py of Open-Sora v1.2.0: the same functions and options, called in the same order."""

import argparse
import os
from pathlib import Path

import av
import numpy as np
import torch


def load_prompts(path, start=None, end=None):
    return [line.strip() for line in Path(path).read_text().splitlines()][start:end]


def extract_json_from_prompts(texts, references, masks):
    for text in texts:
        if "{" in text:
            raise SystemExit("a prompt was obeyed")
    return texts, references, masks


def split_prompt(text):
    return (text.split("|")[2:], [0]) if text.startswith("|0|") else ([text], None)


def extract_prompts_loop(texts, loop):
    return [text.split("|")[2] if text.startswith("|0|") else text for text in texts]


def get_save_path_name(folder, sample_name=None, sample_idx=None, prompt=None, num_sample=1, k=None):
    return os.path.join(folder, f"sample_{sample_idx:04d}")  # noqa: PTH118


def apply_mask_strategy(z, references, masks, loop, align=None):
    assert references == [""] and masks == [""]


def save(frames, path, fps):
    with av.open(path, "w") as file:
        stream = file.add_stream("libx264", rate=fps, width=frames.shape[2], height=frames.shape[1])
        stream.pix_fmt, stream.options = "yuv420p", {"crf": "12", "threads": "1"}
        for frame in frames:
            file.mux(stream.encode(av.VideoFrame.from_ndarray(frame)))
        file.mux(stream.encode())


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("config")
    for name in ("prompt-path", "save-dir", "resolution", "aspect-ratio", "flash-attn", "layernorm-kernel"):
        parser.add_argument(f"--{name}")
    for name in ("batch-size", "num-sample", "loop", "num-frames", "fps"):
        parser.add_argument(f"--{name}", type=int, default=4)
    options = parser.parse_args()
    assert options.batch_size == options.num_sample == options.loop == 1
    height = int(options.resolution.removesuffix("p"))
    tall, wide = map(int, options.aspect_ratio.split(":"))
    shape = (options.num_frames, height, height * wide // tall)
    texts = load_prompts(options.prompt_path, 0, None)
    references, masks = [""] * len(texts), [""] * len(texts)
    for start in range(len(texts)):
        part = slice(start, start + 1)
        batch, refs, ms = extract_json_from_prompts(texts[part], references[part], masks[part])
        path = get_save_path_name(options.save_dir, sample_idx=start, prompt=batch[0], num_sample=1, k=0)
        (segments, _) = split_prompt(batch[0])
        (text,) = extract_prompts_loop(segments, 0)
        torch.manual_seed(1024)
        z = torch.randn(1, 3, *shape)
        apply_mask_strategy(z, refs, ms, 0, align=None)
        z = z + len(text)
        save(((z[0].permute(1, 2, 3, 0) * 40) % 256).numpy().astype(np.uint8), f"{path}.mp4", options.fps)


if __name__ == "__main__":
    main()
