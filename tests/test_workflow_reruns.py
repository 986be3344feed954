"""What an edit of each key of the configuration makes run again, over a finished workspace."""

import hashlib
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from makers import ROOT, workspace
from workspaces import Jobs, Keys, flat, merged, nested, seem_finished, would_run

from promptavideo.config import Config, check
from promptavideo.errors import InputError
from promptavideo.metrics import PAPER
from promptavideo.prompts import prompt_id
from promptavideo.schemas import PROMPTS, scores, write_table
from promptavideo.settings import lay
from promptavideo.shots import prompts_table

pytestmark = pytest.mark.workflow

MORE: dict[str, Any] = {
    "judges": {"fidelity": {"kind": "fidelity", "model": "minilm-l6", "max_tokens": 64, "role": "report"}},
    "generators": {
        "hosted": {
            "kind": "openai-video",
            "base_url": "http://localhost:1/v1",
            "model": "films",
            "key_variable": None,
            "size": "64x64",
            "seconds": 4,
            "price_per_second": 0.1,
            "seconds_per_video": 9.0,
        }
    },
    "operators": {
        "asked": {
            "kind": "chat",
            "base_url": "http://localhost:1/v1",
            "model": "writes",
            "key_variable": None,
            "max_tokens": 100,
            "prices": {"prompt": 1.0, "completion": 2.0},
        }
    },
    "refiners": {
        "asked": {"kind": "llm", "operator": "asked"},
        "opposed": {"kind": "negative", "of": "sft", "operator": "asked", "template": "refine.txt"},
    },
    "evaluation": {
        "sets": {"heldout": {"vbench": {"dimensions": ["temporal_flickering"]}}},
        "refiners": ["original", "llm", "sft", "dpo-1", "dpo-2", "asked"],
        "refiners_of": {"hosted": ["original"]},
    },
    "vbench": {"main": "heldout", "python": "python"},
}
"""What smoke.yaml leaves out: a judge that only reports, a generator and an operator that are paid for, VBench, and a
refiner that no table compares, since no generator here takes negative prompts."""
LAYERS = ("more.yaml",)
ROWS = 9_500
LETTERS = str.maketrans("0123456789", "ghijklmnop")


@dataclass(frozen=True)
class With:
    """A new value that needs others."""

    value: Any
    others: dict[str, Any] = field(default_factory=dict)


def other(old: Any) -> Any:
    """Another value of the same type."""
    match old:
        case bool():
            return not old
        case int() | float():
            return old * 2 or 1
        case str():
            return f"{old}2"
    raise AssertionError(old)


def digest(old: str) -> str:
    """Another SHA-256."""
    return old[::-1]


def batches(learned: int, evaluated: int, written: int | None = None) -> dict[str, int]:
    """The jobs of filming and judging batches again.

    Args:
        learned: Batches that boosters learn from.
        evaluated: Batches that tables show.
        written: How many of these have other texts; all when absent.
    """
    written = evaluated if written is None else written
    filmed = {"film": learned + evaluated, "score": learned + evaluated + written, "gather": learned + 3 * evaluated}
    judged = dict.fromkeys(("vbench_videos", "vbench_dimension"), evaluated)
    return {rule: count for rule, count in (filmed | judged).items() if count}


REPORT = {"report": 1}
SCORE_TABLE = {"table": 1, **REPORT}  # videoscore
GAIN_TABLES = {"table": 2, **REPORT}  # and gains
TABLES = {"table": 3, **REPORT}  # and vbench
UNBOOSTED = {"table": 2, **REPORT}  # without gains, as of a track that no booster writes for
VIDEOS = {"qualitative": 1, **REPORT}
GALLERY = {"gallery": 1, **REPORT}
EVOLUTION = {"evolution_curve": 1, **REPORT}
TRAINING = {"training_curves": 1, **REPORT}
SHEET = {"contact_sheet": 1, **TABLES, **VIDEOS, **GALLERY}
SHOWN = TRAINING | SHEET

# What follows from a stage of the method to its end, each with the stage before.
LAST = batches(0, 1) | {"train": 1, "refine": 1} | SHOWN
LAST_DRAWN = batches(1, 1) | {"candidates": 1, "triples": 1, "train": 1, "refine": 1} | SHOWN
DPO = batches(1, 2) | {"train": 2, "candidates": 1, "triples": 1, "refine": 2} | SHOWN
TRIPLES = DPO | {"triples": 2}
PREFERENCE = batches(2, 2) | {"train": 2, "candidates": 2, "triples": 2, "refine": 2} | SHOWN
DRAWING = batches(2, 3) | {"train": 2, "candidates": 2, "triples": 2, "refine": 3} | SHOWN
SFT = DRAWING | {"train": 3}
PAIRS = SFT | {"pairs": 1}
EVOLVED = PAIRS | EVOLUTION | batches(4, 3) | {"propose": 2}
FROM_START = PAIRS | EVOLUTION | batches(5, 3) | {"propose": 3}
FILMED = EVOLVED | batches(5, 6, written=3)
"""By the miniature."""
JUDGED = EVOLVED | {"score": 12 + 3, "gather": 12 + 3 + 3, "contact_sheet": 2}
ONE = batches(0, 1) | {"refine": 1} | TABLES | GALLERY
"""One row of the tables."""
ONE_SHOWN = ONE | SHEET
REWRITTEN = ONE | VIDEOS
"""The row of the one-shot rewrite, which only the figure of videos shows."""
HELD_OUT = batches(0, 7) | {"refine": 7} | SHEET | {"contact_sheet": 2}
HOSTED = batches(0, 1, written=0) | {"contact_sheet": 1} | UNBOOSTED | GALLERY
FIDELITY = {"score": 7, "gather": 7} | SCORE_TABLE | GALLERY

NOTHING: Jobs = {}
REFUSED: Jobs = {"refused": 1}

SET = {"prompt_sets": {"another": {"file": "other.txt", "count": 3}}}
SECOND = {"operators": {"second": {"kind": "recombine", "temperature": 0.5}}}
FIRST = {"boosters": {"first": {"trainer": "sft", "settings": {"epochs": 1}}}}
SIX = ["VQ", "TC", "DD", "TVA", "FC", "AES"]
BUT_ASKED = ["original", "llm", "sft", "dpo-1", "dpo-2"]
COPY = {"models": {"copy": {"kind": "local", "path": "elsewhere"}}}
WITNESS = {"models": {"witness": {"kind": "local", "path": "resources/witness"}}}
TWINS = {"judges": {"pixels": {"metrics": ["MPS"]}, "twin": {"kind": "pixels", "metrics": SIX}}, "objective": SIX}
THEIRS = {"theirs": {"kind": "url", "url": "file:///pairs.json", "sha256": "0" * 64}}
FETCH = {"fetch": 1}
READ = {"prompt_set": 1}
READER = {"reader": 1}
MODE = HELD_OUT | {"prompt_set": 1, "vbench_prompts": 1}
"""The first set of VBench's own prompts, whose list must be there before the set is read."""
MORE_SET = {"prompts": "heldout"}
ANOTHER_SET = {"refine": 7, "film": 7, "score": 14, "gather": 14} | GAIN_TABLES | GALLERY
INSTEAD = ANOTHER_SET | {"contact_sheet": 2} | VIDEOS
BASE = SFT | FETCH
ENCODER = FILMED | READER | {"fetch": 2, "score": 11 + 7, "gather": 11 + 7 + 6}
"""The miniature's text encoder, by which a judge compares texts too."""
OPERATED = EVOLVED | batches(4, 4) | {"refine": 4}

TABLE: dict[str, tuple[Any, Jobs]] = {
    "scale": ("paper", TABLES | VIDEOS | GALLERY),
    "seed": (other, FROM_START | batches(5, 7) | {"refine": 7, "contact_sheet": 2}),
    # Where videos and trainings are kept; a run that needs none of them reads nothing there.
    "store": ("elsewhere", NOTHING),
    "shard_size": (1, NOTHING),
    "shard_minutes": (With(0.01, {"shard_size": None}), NOTHING),
    "score_minutes": (0.001, NOTHING),
    # No weights of the laptop's base model are in a run at smoke scale.
    "models.smollm2-135m.kind": (With("local", {"models": {"smollm2-135m": {"path": "elsewhere"}}}), NOTHING),
    "models.smollm2-135m.package": (other, NOTHING),
    "models.smollm2-135m.version": (other, NOTHING),
    "models.smollm2-135m.folder": (other, NOTHING),
    "models.smollm2-135m.format": ("files", NOTHING),
    "models.smollm2-135m.sha256.*": (digest, NOTHING),
    "models.minilm-l6.kind": (With("local", {"models": {"minilm-l6": {"path": "elsewhere"}}}), ENCODER),
    "models.minilm-l6.package": (other, ENCODER),
    "models.minilm-l6.version": (other, ENCODER),
    "models.minilm-l6.folder": (other, ENCODER),
    "models.minilm-l6.format": ("gguf", ENCODER),
    "models.minilm-l6.sha256.*": (digest, ENCODER),
    "models.mini-t2v.kind": (With("local", {"models": {"mini-t2v": {"path": "elsewhere"}}}), FILMED | FETCH | READER),
    "models.mini-t2v.weights": ("resources/miniature/", FILMED | FETCH | READER),
    "models.mini-t2v.text_encoder": (With("copy", COPY), FILMED | {"fetch": 2} | READER),
    "models.mini-t2v.dialect": ("crew", NOTHING),
    "models.mini-t2v.sha256": ({"vae/config.json": "0" * 64}, FILMED | FETCH | READER),
    "models.tiny-llama.kind": (
        With("hub", {"models": {"tiny-llama": {"repo_id": "mine/llama", "revision": "unpinned"}}}),
        BASE,
    ),
    "models.tiny-llama.path": ("elsewhere", BASE),
    "models.tiny-llama.allow_patterns": (["*.json"], BASE),
    "models.tiny-llama.weights": (False, BASE),
    "models.tiny-llama.sha256": ({"config.json": "0" * 64}, BASE),
    "pair_sources": (THEIRS, NOTHING),
    "prompt_sources": ({"captions": {"kind": "local", "path": "other.txt"}}, NOTHING),
    "prompt_sets.*.source": (With("captions", {}), REFUSED),
    "prompt_sets.*.style_column": ("style", REFUSED),  # of text files
    "prompt_sets.*.max_words": (199, NOTHING),  # a longer prompt is an error
    "prompt_sets.evolution.file": ("other.txt", FROM_START | READ),
    "prompt_sets.evolution.column": ("text", FROM_START | READ),
    "prompt_sets.evolution.first": (1, FROM_START | READ),
    "prompt_sets.evolution.count": (2, FROM_START | READ),
    "prompt_sets.evolution.drop_digits": (True, FROM_START | READ),
    "prompt_sets.evolution.repeated": ("first", FROM_START | READ),
    "prompt_sets.evolution.shuffle": (True, FROM_START | READ),
    "prompt_sets.preference.file": (
        With("other.txt", {"prompt_sets": {"preference": {"first": 0}}}),
        PREFERENCE | READ,
    ),
    "prompt_sets.preference.column": ("text", PREFERENCE | READ),
    "prompt_sets.preference.first": (61, PREFERENCE | READ),
    "prompt_sets.preference.count": (2, PREFERENCE | READ),
    "prompt_sets.preference.drop_digits": (True, PREFERENCE | READ),
    "prompt_sets.preference.repeated": ("first", PREFERENCE | READ),
    "prompt_sets.preference.shuffle": (
        With(True, {"prompt_sets": {"evolution": {"shuffle": True}}}),
        FROM_START | {"prompt_set": 2} | batches(5, 3) | {"candidates": 2},
    ),
    "prompt_sets.heldout.file": ("other.txt", HELD_OUT | READ),
    "prompt_sets.heldout.column": ("text", HELD_OUT | READ),
    "prompt_sets.heldout.first": (1, HELD_OUT | READ),
    "prompt_sets.heldout.count": (2, HELD_OUT | READ),
    "prompt_sets.heldout.drop_digits": (True, HELD_OUT | READ),
    "prompt_sets.heldout.repeated": ("first", HELD_OUT | READ),
    "prompt_sets.heldout.shuffle": (True, HELD_OUT | READ),
    "generators.mini-t2v.kind": (
        With("openai-video", {"generators": {"mini-t2v": MORE["generators"]["hosted"]}}),
        FILMED,
    ),
    "generators.mini-t2v.pipeline": (
        With(
            "CogVideoXPipeline",
            {
                "generators": {
                    "mini-t2v": {"sampling": {"video_length": None, "clean_caption": None, "decode_chunk_size": None}}
                }
            },
        ),
        FILMED | READER,
    ),
    "generators.mini-t2v.model": (With("copy", COPY), FILMED | FETCH | READER),
    "generators.mini-t2v.dtype": ("float32", FILMED),
    "generators.mini-t2v.component_dtypes": ({"vae": "float32"}, FILMED),
    "generators.mini-t2v.device": ("cpu", NOTHING),
    "generators.mini-t2v.offload": ("model", NOTHING),
    "generators.mini-t2v.threads": (other, FILMED),
    "generators.mini-t2v.batch_size": (other, FILMED),
    "generators.mini-t2v.medium": ("image", REFUSED),
    "generators.mini-t2v.fps": (other, FILMED),
    "generators.mini-t2v.negative_prompt": ("dark", FILMED),
    "generators.mini-t2v.scheduler": ({"name": "DDIMScheduler"}, FILMED),
    "generators.mini-t2v.sampling.*": (other, FILMED),
    "generators.mini-t2v.max_frames": (64, NOTHING),
    "generators.mini-t2v.text_tokens": (20, EVOLVED | READER),
    "generators.mini-t2v.vae_tiling": (True, FILMED),
    "generators.mini-t2v.vae_slicing": (True, FILMED),
    "generators.mini-t2v.compile": ({"mode": "default"}, FILMED),
    "generators.mini-t2v.quantisation": ({"scheme": "int8"}, FILMED),
    "generators.mini-t2v.cache": ({"name": "MagCache"}, FILMED),
    "generators.mini-t2v.loras": ([{"model": "tiny-llama"}], FILMED),
    "generators.mini-t2v.crf": (other, FILMED),
    "generators.mini-t2v.pixel_format": ("yuv420p", FILMED),
    "generators.*.seconds_per_video": (other, NOTHING),
    "generators.hosted.kind": (
        With(
            "command",
            {
                "generators": {
                    "hosted": {
                        "command": ["film", "{prompts}", "{output}"],
                        "version": "1",
                        "timeout_s": 9.0,
                        "width": 64,
                        "height": 64,
                        "frames": 8,
                        "fps": 8.0,
                        "seconds_per_video": 9.0,
                    }
                }
            },
        ),
        HOSTED,
    ),
    "generators.hosted.base_url": ("http://localhost:2/v1", HOSTED),
    "generators.hosted.model": (other, HOSTED),
    "generators.hosted.key_variable": ("MY_KEY", NOTHING),
    "generators.hosted.size": ("32x32", HOSTED),
    "generators.hosted.seconds": (other, HOSTED),
    "generators.hosted.batch_size": (other, NOTHING),
    "generators.hosted.poll_s": (other, NOTHING),
    "generators.hosted.timeout_s": (other, NOTHING),
    "generators.hosted.request_timeout_s": (other, NOTHING),
    "generators.hosted.retries.*": (other, NOTHING),
    "generators.hosted.price_per_second": (other, NOTHING),
    "generators.hosted.budget.*": (5, NOTHING),
    "generators.hosted.threads": (other, NOTHING),
    "generators.hosted.crf": (other, HOSTED),
    "judges.pixels.kind": (
        With(
            "witness",
            WITNESS
            | {
                "judges": {"pixels": {"model": "witness"}},
                "objective": ["AGREE", "REAL"],
                "evaluation": {"average": ["AGREE"]},
            },
        ),
        JUDGED | FETCH,
    ),
    "judges.pixels.metrics": (["MPS", *SIX], NOTHING),  # all of them, and their order is the judge's own
    "judges.pixels.role": (With("report", TWINS), JUDGED | {"score": 15 + 7, "gather": 15 + 7 + 3}),
    "judges.pixels.on": (
        With(["heldout"], merged(TWINS, {"judges": {"pixels": {"role": "report"}}})),
        JUDGED | {"score": 15 + 7, "gather": 15 + 7 + 3},
    ),
    "judges.fidelity.kind": (
        With("witness", WITNESS | {"judges": {"fidelity": {"model": "witness", "role": "report"}}}),
        FIDELITY | FETCH,
    ),
    "judges.fidelity.model": (With("copy", COPY), FIDELITY | FETCH),
    "judges.fidelity.metrics": (["KEEP"], FIDELITY),
    "judges.fidelity.role": (
        With("reward", {"objective": [*SIX, "MPS", "KEEP", "SENSE"]}),
        JUDGED | {"score": 12, "gather": 12 + 3},
    ),
    "judges.fidelity.on": (["heldout"], NOTHING),  # there is no other set
    "judges.fidelity.max_tokens": (other, FIDELITY),
    "judges.fidelity.batch_size": (other, NOTHING),
    "judges.fidelity.threads": (other, NOTHING),
    "judges.fidelity.device": ("cpu", NOTHING),
    "objective": (With(SIX, {"judges": {"pixels": {"metrics": SIX}}}), JUDGED),
    "operators.recombine.kind": (With("chat", {"operators": {"recombine": MORE["operators"]["asked"]}}), OPERATED),
    "operators.recombine.dialects": (["crew"], OPERATED),
    "operators.recombine.*_*": (other, OPERATED),
    "operators.recombine.temperature": (other, OPERATED),
    "operators.asked.kind": ("recombine", ONE),
    "operators.asked.base_url": ("http://localhost:2/v1", ONE),
    "operators.asked.model": (other, ONE),
    "operators.asked.key_variable": ("MY_KEY", NOTHING),
    "operators.asked.temperature": (0.5, ONE),
    "operators.asked.top_p": (0.5, ONE),
    "operators.asked.max_tokens": (other, ONE),
    "operators.asked.max_tokens_field": ("max_completion_tokens", ONE),
    "operators.asked.send_seed": (True, ONE),
    "operators.asked.extra_body": ({"deep": True}, ONE),
    "operators.asked.query": ({"api-version": "1"}, ONE),
    "operators.asked.headers": ({"api-key": "MY_KEY"}, NOTHING),
    "operators.asked.stream": (True, NOTHING),
    "operators.asked.timeout_s": (other, NOTHING),
    "operators.asked.concurrency": (other, NOTHING),
    "operators.asked.requests_per_minute": (60.0, NOTHING),
    "operators.asked.tokens_per_minute": (6000.0, NOTHING),
    "operators.asked.retries.*": (other, NOTHING),
    "operators.asked.prices.*": (other, NOTHING),
    "operators.asked.budget.*": (5, NOTHING),
    "refiners.original.kind": ("llm", REFUSED),
    "refiners.llm.kind": ("original", REWRITTEN),
    "refiners.llm.operator": (With("second", SECOND), REWRITTEN),
    "refiners.llm.template": ("refine.txt", REWRITTEN),
    "refiners.llm.examples": (With("examples.yaml", {"refiners": {"llm": {"template": "shots.txt"}}}), REWRITTEN),
    "refiners.llm.attempts": (other, REWRITTEN),
    "refiners.llm.limits.script": ("latin", REWRITTEN),
    "refiners.llm.limits.max_*": (other, REWRITTEN),
    "refiners.asked.kind": ("original", ONE),
    "refiners.asked.operator": ("recombine", ONE),
    "refiners.asked.template": ("refine.txt", ONE),
    "refiners.asked.examples": (With("examples.yaml", {"refiners": {"asked": {"template": "shots.txt"}}}), ONE),
    "refiners.asked.attempts": (other, ONE),
    "refiners.asked.limits.script": ("latin", ONE),
    "refiners.asked.limits.max_*": (other, ONE),
    "refiners.opposed.kind": ("original", NOTHING),
    "refiners.opposed.of": ("dpo-1", NOTHING),
    "refiners.opposed.text": (
        With("opposed.txt", {"refiners": {"opposed": {"operator": None, "template": None}}}),
        NOTHING,
    ),
    "refiners.opposed.booster": (
        With(
            "opposed",
            {
                "refiners": {"opposed": {"operator": None, "template": None}},
                "negatives": {"operator": "asked"},
                "boosters": {"opposed": {"trainer": "sft", "data": "negatives", "tracks": ["hosted"]}},
            },
        ),
        NOTHING,
    ),
    "refiners.opposed.operator": ("recombine", NOTHING),
    "refiners.opposed.template": ("templates/refine.txt", NOTHING),
    "refiners.opposed.examples": (
        With("opposed.yaml", {"refiners": {"opposed": {"template": "shots.txt"}}}),
        NOTHING,
    ),
    "refiners.opposed.attempts": (other, NOTHING),
    "refiners.opposed.limits.script": ("latin", NOTHING),
    "refiners.opposed.limits.max_*": (other, NOTHING),
    "refiners.opposed.descriptors.*": (other, NOTHING),
    "refiners.sft.kind": ("original", ONE_SHOWN),
    "refiners.sft.booster": ("dpo-1", ONE_SHOWN),
    "refiners.dpo-1.kind": ("original", ONE),
    "refiners.dpo-1.booster": ("sft", ONE),
    "refiners.dpo-2.kind": ("original", ONE_SHOWN),
    "refiners.dpo-2.booster": ("dpo-1", ONE_SHOWN),
    "evolution.weights": ({"DD": 0.5}, EVOLVED),
    "evolution.thresholds": ({"DD": 0.5}, PAIRS),
    "evolution.min_gain": (0.1, PAIRS),
    "evolution.template": ("evolution.txt", EVOLVED),
    "evolution.variants": (other, EVOLVED),
    "evolution.attempts": (other, EVOLVED),
    "evolution.parents": (other, EVOLVED),
    "evolution.replicates": (other, FROM_START),
    "evolution.limits.script": ("latin", EVOLVED),
    "evolution.limits.max_*": (other, EVOLVED),
    "evolution.prompts": (With("another", SET), FROM_START | READ),
    "evolution.operator": (With("second", SECOND), EVOLVED),
    "evolution.operators": (With({"mini-t2v": "second"}, SECOND), EVOLVED),
    "evolution.story": (["a dog"], NOTHING),  # no table shows it
    "evolution.rounds": (3, PAIRS | EVOLUTION | batches(3, 3) | {"propose": 1}),
    "booster.base": ("smollm2-135m", BASE),
    "booster.instruction": ("booster.txt", SFT),
    "booster.device": ("cpu", NOTHING),
    "booster.devices": (
        With(2, {"booster": {"sft": {"micro_batch_size": 1}, "dpo": {"micro_batch_size": 1}}}),
        NOTHING,
    ),
    "booster.dtype": ("float32", SFT),
    "booster.threads": (other, SFT),
    "booster.sampling.temperature": (other, DRAWING),
    "booster.sampling.top_p": (0.5, DRAWING),
    "booster.sampling.top_k": (other, DRAWING),
    "booster.sampling.max_*": (other, DRAWING),
    "booster.sampling.batch_size": (other, DRAWING),
    "booster.sampling.engine": ("auto", DRAWING),
    "booster.sampling.gpu_memory": (0.5, NOTHING),
    "booster.*.micro_batch_size": (1, NOTHING),
    "booster.*.gradient_checkpointing": (True, NOTHING),
    "booster.*.checkpoint_steps": (other, NOTHING),
    # No booster here learns to write negative prompts.
    "booster.negative.instruction": ("booster.txt", NOTHING),
    "booster.negative.sampling": ({"max_new_tokens": 9}, NOTHING),
    "booster.negative.descriptors.*": (other, NOTHING),
    "negatives": ({"operator": "recombine"}, NOTHING),
    "booster.sft.epochs": (other, SFT),
    "booster.sft.batch_size": (other, SFT),
    "booster.sft.learning_rate": (other, SFT),
    "booster.sft.warmup_ratio": (other, SFT),
    "booster.sft.schedule": ("linear", SFT),
    "booster.sft.max_length": (other, SFT),
    "booster.sft.lora.r": (other, SFT),
    "booster.sft.lora.alpha": (other, SFT),
    "booster.sft.lora.dropout": (0.1, SFT),
    "booster.sft.lora.layers": (other, SFT),
    "booster.sft.lora.targets": (["q_proj"], SFT),
    "booster.dpo.epochs": (other, DPO),
    "booster.dpo.batch_size": (other, DPO),
    "booster.dpo.learning_rate": (other, DPO),
    "booster.dpo.warmup_ratio": (other, DPO),
    "booster.dpo.schedule": ("linear", DPO),
    "booster.dpo.max_length": (other, DPO),
    "booster.dpo.lora.r": (other, DPO),
    "booster.dpo.lora.alpha": (other, DPO),
    "booster.dpo.lora.dropout": (0.1, DPO),
    "booster.dpo.lora.layers": (other, DPO),
    "booster.dpo.lora.targets": (["q_proj"], DPO),
    "booster.dpo.beta": (other, DPO),
    "boosters.sft.trainer": (
        With("dpo", merged(FIRST, {"boosters": {"sft": {"data": {"draw": "first"}}}})),
        SFT | batches(3, 3) | {"train": 4, "candidates": 3, "triples": 3},
    ),
    "boosters.sft.from": (With("first", FIRST), SFT | {"train": 4}),
    "boosters.sft.tracks": (["mini-t2v"], SFT),
    "boosters.sft.settings": ({"epochs": 1}, SFT),
    "boosters.sft.data": ({"draw": "sft"}, REFUSED),
    "boosters.dpo-1.trainer": ("sft", DPO),
    "boosters.dpo-1.from": (With(None, {"boosters": {"dpo-1": {"data": {"draw": "sft"}}}}), DPO),
    "boosters.dpo-1.tracks": (With(["mini-t2v"], {"boosters": {"dpo-1": {"from": "mini-t2v/sft"}}}), DPO),
    "boosters.dpo-1.settings": ({"beta": 0.2}, DPO),
    "boosters.dpo-1.data.draw": (With("first", FIRST), PREFERENCE | {"train": 3}),
    "boosters.dpo-1.data.prompts": (With("another", SET), PREFERENCE | READ),
    "boosters.dpo-*.data.of": ("dpo-2", REFUSED),
    "boosters.dpo-2.trainer": ("sft", LAST),
    "boosters.dpo-2.from": ("sft", LAST_DRAWN),
    "boosters.dpo-2.tracks": (With(["mini-t2v"], {"boosters": {"dpo-2": {"from": "mini-t2v/dpo-1"}}}), LAST),
    "boosters.dpo-2.settings": ({"beta": 0.2}, LAST),
    "boosters.dpo-2.data.draw": ("sft", LAST_DRAWN),
    "boosters.dpo-2.data.prompts": (With("another", SET), LAST_DRAWN | READ),
    "preference.rule": ("authors", TRIPLES),
    "preference.best_worst.weights": ({"DD": 0.5}, TRIPLES),
    "preference.best_worst.thresholds": ({"DD": 0.5}, TRIPLES),
    "preference.best_worst.min_gap": (0.1, TRIPLES),
    "preference.authors.*": (other, NOTHING),  # of the rule that is not in use
    "preference.prompts": (With("another", SET), PREFERENCE | READ),
    "preference.rounds": (3, batches(1, 0) | {"candidates": 1, "triples": 1, "train": 1} | TRAINING),
    "preference.candidates": (other, PREFERENCE),
    "evaluation.sets.heldout.prompts": (With("another", SET), HELD_OUT | READ),
    "evaluation.sets.heldout.medium": ("video", NOTHING),
    "evaluation.sets.heldout.replicates": (3, HELD_OUT),
    # The set itself is another one then; no table here compares by styles.
    "evaluation.sets.heldout.styles": (
        With(["hill"], {"prompt_sets": {"heldout": {"file": "styled.csv", "style_column": "style"}}}),
        HELD_OUT | READ,
    ),
    # What is shown by the rewards is another set, and VBench's judgements stay.
    "evaluation.sets.heldout.rewards": (
        With(False, {"evaluation": {"sets": {"more": MORE_SET}}}),
        INSTEAD,
    ),
    "evaluation.sets.heldout.vbench.mode": ("standard", MODE),
    "evaluation.sets.heldout.vbench.dimensions": (
        ["temporal_flickering", "motion_smoothness"],
        {"vbench_checkpoint": 1, "vbench_dimension": 7, "gather": 7, "table": 1, "report": 1},
    ),
    # Another one is then the one-shot rewrite.
    "evaluation.refiners": (["original", "sft", "dpo-1", "dpo-2", "asked"], TABLES | VIDEOS | GALLERY),
    "evaluation.refiners_of.hosted": (["original", "llm"], ONE | UNBOOSTED),
    "evaluation.also": (
        With(["more"], {"refiners": {"more": {"kind": "llm", "operator": "asked"}}}),
        batches(0, 2) | {"refine": 2} | TABLES | GALLERY,
    ),
    "evaluation.studies": (["convergence"], {"table": 1, "study_figure": 1, **REPORT}),
    "evaluation.average": (["VQ"], GAIN_TABLES | VIDEOS | GALLERY),
    "evaluation.bootstrap.resamples": (other, EVOLUTION | TABLES),
    "evaluation.bootstrap.method": ("percentile", EVOLUTION | TABLES),
    "evaluation.bootstrap.seed": (other, EVOLUTION | TABLES),
    "gallery.prompts": (2, GALLERY),
    "gallery.*_pixels": (other, GALLERY),
    "gallery.crf": (other, GALLERY),
    "gallery.threads": (other, NOTHING),
    "qualitative.prompts": (["a dog"], VIDEOS),
    "qualitative.count": (other, VIDEOS),
    "qualitative.frames": (other, VIDEOS),
    "qualitative.refiners": (["original", "dpo-2"], VIDEOS),
    "qualitative.track": ("mini-t2v", NOTHING),  # which it is anyway
    "qualitative.set": ("heldout", NOTHING),
    "planning.currency": ("EUR", NOTHING),
    "planning.reference": ({"filming": 0.02, "training": 0.02, "plain": 0.02}, NOTHING),
    "planning.*[!y]_*": (other, NOTHING),
    "vbench.version": (other, NOTHING),  # whose list of prompts nothing here is of
    "vbench.sha256": (digest, NOTHING),
    "vbench.subset": ("subset.tsv", NOTHING),
    "vbench.checkpoints": ("checkpoints.yaml", NOTHING),
    "vbench.python": (other, NOTHING),
    "vbench.device": ("cpu", NOTHING),
    "vbench.shard_size": (2, NOTHING),
    "vbench.main": (None, REPORT),
    "vbench.ablation": ("heldout", REFUSED),
    # Its page and its votes are targets of their own, and no run waits for them before there are votes.
    "user_study.track": ("mini-t2v", NOTHING),
    "user_study.set": ("heldout", NOTHING),
    "user_study.pairs": ([["sft", "original"]], NOTHING),
    "user_study.questions.*": (other, NOTHING),
    "user_study.prompts": (other, NOTHING),
    "user_study.raters": (other, NOTHING),
    "user_study.spares": (other, NOTHING),
    "user_study.items": (other, NOTHING),
    "user_study.repeats": (other, NOTHING),
    "user_study.checks": (other, NOTHING),
    "user_study.least_checks": (0.5, NOTHING),
    "user_study.least_agreement": (0.5, NOTHING),
    "user_study.consent": (other, NOTHING),
    "user_study.votes": (other, NOTHING),
    "user_study.*_pixels": (other, NOTHING),
}
"""{pattern of keys: another value, or what makes it of the old one; the jobs that run again}."""

ENTRIES: dict[str, tuple[dict[str, Any], Jobs]] = {
    "two keys": ({"booster": {"base": "smollm2-135m"}, "evolution": {"variants": 4}}, EVOLVED | FETCH),
    "another model": (COPY, NOTHING),
    "a model less": ({"models": {"smollm2-135m": None}}, NOTHING),
    "another prompt set": (SET, NOTHING),
    "another source": ({"prompt_sources": {"captions": {"kind": "local", "path": "other.txt"}}}, NOTHING),
    "another generator": (
        {"generators": {"second": {"like": "mini-t2v"}}},
        {rule: count for rule, count in FROM_START.items() if rule != "qualitative"}  # of the first track
        | batches(5, 6)
        | {"refine": 6, "contact_sheet": 1}
        | READER,
    ),
    "a generator less": (
        {"generators": {"hosted": None}, "evaluation": {"refiners_of": {"hosted": None}}},
        UNBOOSTED | GALLERY,
    ),
    "another judge that reports": (
        merged(WITNESS, {"judges": {"witness": {"kind": "witness", "model": "witness", "role": "report"}}}),
        FIDELITY | FETCH,
    ),
    "a judge less": ({"judges": {"fidelity": None}}, SCORE_TABLE | GALLERY),
    "another operator": (SECOND, NOTHING),
    "an operator and its refiner less": (
        {
            "operators": {"asked": None},
            "refiners": {"asked": None, "opposed": None},
            "evaluation": {"refiners": BUT_ASKED},
        },
        TABLES | GALLERY,
    ),
    "another refiner that no table compares": ({"refiners": {"more": {"kind": "llm", "operator": "asked"}}}, NOTHING),
    "another refiner that is compared": (
        {
            "refiners": {"more": {"kind": "llm", "operator": "asked"}},
            "evaluation": {"refiners": [*BUT_ASKED, "asked", "more"]},
        },
        ONE,
    ),
    "another booster": (
        {"boosters": {"more": {"trainer": "dpo", "from": "sft"}}},
        batches(1, 0) | {"candidates": 1, "triples": 1, "train": 1} | TRAINING,
    ),
    "a booster less": (
        {
            "boosters": {"dpo-2": None},
            "refiners": {"dpo-2": None},
            "evaluation": {"refiners": ["original", "llm", "sft", "dpo-1", "asked"]},
        },
        SHOWN,
    ),
    "released pairs in place of the evolution": (
        {"pair_sources": THEIRS, "boosters": {"sft": {"data": {"pairs": "theirs"}}}},
        SFT | {"pair_source": 1},
    ),
    "a chat model that is compared": (
        {
            "refiners": {"chat": {"kind": "chat-model", "model": "tiny-llama"}},
            "evaluation": {"refiners": [*BUT_ASKED, "asked", "chat"]},
        },
        ONE,
    ),
    "another evaluation set": ({"evaluation": {"sets": {"more": MORE_SET}}}, ANOTHER_SET),
    "an evaluation set instead of another": (
        {"evaluation": {"sets": {"heldout": None, "more": MORE_SET}}, "vbench": {"main": None}},
        INSTEAD,
    ),
}
"""Entries added and removed, and edits at a time of what would hide one another."""


def layered(*more: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration that a dry run reads."""
    files = (ROOT / "config.yaml", ROOT / "tests/smoke.yaml")
    below = {str(path): yaml.safe_load(path.read_text(encoding="utf-8")) for path in files}
    return lay(below | {f"more {place}": one for place, one in enumerate((MORE, *more))})[0]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace in which nothing is left to do."""
    folder = workspace(tmp_path_factory.mktemp("reruns") / "run")
    fill(folder)
    seem_finished(folder, LAYERS)
    assert would_run(folder, {"as it is": {}}, LAYERS) == {"as it is": NOTHING}
    return folder


def fill(folder: Path) -> None:
    """The files that edits name."""
    (folder / LAYERS[0]).write_text(yaml.safe_dump(MORE))
    (folder / "resources/witness").symlink_to(ROOT / "resources/witness")
    (folder / "other.txt").write_text("\n".join(f"a dog runs over hill number {place}" for place in "abcdefgh"))
    (folder / "styled.csv").write_text("prompt,style\n" + "".join(f"a dog on hill {one},hill\n" for one in "abc"))
    for name in ("evolution", "refine", "booster"):
        (folder / f"{name}.txt").write_text(
            (ROOT / f"templates/{name}.txt").read_text(encoding="utf-8") + "Be brief.\n"
        )
    (folder / "shots.txt").write_text((ROOT / "templates/refine.txt").read_text(encoding="utf-8") + "$examples\n")
    examples = [{"prompt": "a dog", "refined": "a brown dog runs over a green hill"}]
    (folder / "examples.yaml").write_text(yaml.safe_dump(examples))
    (folder / "opposed.yaml").write_text(yaml.safe_dump([{"prompt": "a dog runs", "negative": "blurry, faded"}]))
    (folder / "opposed.txt").write_text("blurry, faded")
    for path in (ROOT / "resources/paper/vbench100_indices.tsv", ROOT / "resources/vbench/checkpoints.yaml"):
        shutil.copyfile(path, folder / {"vbench100_indices.tsv": "subset.tsv"}.get(path.name, path.name))


def edit(keys: Keys, old: Any, new: Any) -> dict[str, Any]:
    """The settings that change one key."""
    given = new if isinstance(new, With) else With(new)
    value = given.value(old) if callable(given.value) else given.value
    assert value != old, keys
    return merged(given.others, nested(keys, value))


def keys_of(config: Config) -> dict[Keys, Any]:
    """Every key of the configuration, whether a file sets it or not."""
    return flat(config.model_dump(mode="json", by_alias=True))


def rows_of(keys: Mapping[Keys, Any]) -> dict[Keys, str]:
    """The row of the table that each key has."""
    found = {key: [row for row in TABLE if fnmatchcase(".".join(key), row)] for key in keys}
    wrong = {".".join(key): rows for key, rows in found.items() if len(rows) != 1}
    assert not wrong, "keys without a row of TABLE, or with several"
    unused = TABLE.keys() - {rows[0] for rows in found.values()}
    assert not unused, "rows of TABLE without a key"
    return {key: rows[0] for key, rows in found.items()}


def test_every_key_and_entry_reruns_what_the_table_says(finished: Path) -> None:
    raw = layered()
    keys = keys_of(check(raw, finished))
    set_here = {key for key, value in flat(raw).items() if value is not None}
    assert not set_here - keys.keys(), "keys that files set and the configuration does not hold"
    edits = {name: (overlay, expected) for name, (overlay, expected) in ENTRIES.items()}
    for key, row in rows_of(keys).items():
        new, expected = TABLE[row]
        edits[".".join(key)] = edit(key, keys[key], new), expected
    for name in [name for name, (_, expected) in edits.items() if expected is REFUSED]:
        with pytest.raises(InputError, match=re.escape(".".join(name.split(".")[:2]))):
            check(layered(edits.pop(name)[0]), finished)
    still = {name: overlay for name, (overlay, expected) in edits.items() if not expected}
    runs = {name: entry for name, entry in edits.items() if entry[1]}
    found = would_run(finished, {name: overlay for name, (overlay, _) in runs.items()}, LAYERS)
    wrong = {name: found[name] for name in runs if found[name] != runs[name][1]}
    wrong |= {name: jobs for part in apart(still, finished) for name, jobs in which(finished, part)}
    for name, jobs in wrong.items():
        expected = edits[name][1]
        rules = [rule for rule in {*jobs, *expected} if jobs.get(rule) != expected.get(rule)]
        print(name, {rule: (jobs.get(rule, 0), expected.get(rule, 0)) for rule in sorted(rules)})
    assert not wrong, "{rule: (jobs that would run, jobs of the table)} above"


def apart(edits: Mapping[str, dict[str, Any]], folder: Path) -> list[dict[str, dict[str, Any]]]:
    """Edits in groups that can be made together."""
    groups: list[dict[str, dict[str, Any]]] = []
    for name, overlay in edits.items():
        group = next((one for one in groups if together([*one.values(), overlay], folder)), None)
        if group is None:
            groups.append(group := {})
        group[name] = overlay
    return groups


def together(overlays: Sequence[dict[str, Any]], folder: Path) -> bool:
    """Whether no edit undoes another, and a run takes them all."""
    whole = merged(*overlays)
    kept = flat(whole)
    if not all(key in kept and kept[key] == value for one in overlays for key, value in flat(one).items()):
        return False
    try:
        check(layered(whole), folder)
    except InputError:
        return False
    return True


def which(folder: Path, edits: Mapping[str, dict[str, Any]]) -> Iterator[tuple[str, Jobs]]:
    """The edits that make anything run again, found by halves."""
    jobs = would_run(folder, {"together": merged(*edits.values())}, LAYERS)["together"]
    if not jobs:
        return
    if len(edits) == 1:
        yield next(iter(edits)), jobs
        return
    names = list(edits)
    for half in (names[: len(names) // 2], names[len(names) // 2 :]):
        yield from which(folder, {name: edits[name] for name in half})


def test_nothing_reruns_by_large_tables_either(tmp_path: Path) -> None:
    """Over the size up to which Snakemake reads what is in a file unless a profile says otherwise, and without."""
    folder, layers = workspace(tmp_path / "run"), ("large.yaml",)
    ids = [f"{place:016x}{hashlib.sha256(str(place).encode()).hexdigest()}" for place in range(ROWS + 5)]
    (folder / "many.txt").write_text(
        "\n".join(f"a dog called {name.translate(LETTERS)} runs over a hill" for name in ids)
    )
    large = {"shard_size": 4000, "prompt_sets": {"evolution": {"file": "many.txt", "first": 0, "count": ROWS}}}
    (folder / layers[0]).write_text(yaml.safe_dump(large))
    table = large_table(folder / "many.txt")
    batch = folder / "results/mini-t2v/evolution/round-1"
    for path, schema in ((batch / "prompts.parquet", PROMPTS), (batch / "rewards/scores.parquet", scores(PAPER))):
        write_table(table[list(schema.columns)], path, schema)
        assert path.stat().st_size > 1_000_000
    seem_finished(folder, layers)
    edits: dict[str, dict[str, Any]] = {
        "price": {"planning": {"gpu_hour_price": 2.0}},
        "seconds": {"generators": {"mini-t2v": {"seconds_per_video": 9.0}}, "planning": {"seconds_per_score": 9.0}},
        "jobs": {"shard_size": 500, "score_minutes": 1.0},
        "as it is": {},
    }
    nothing = dict.fromkeys(edits, NOTHING)
    assert would_run(folder, edits, layers) == nothing
    assert would_run(folder, edits, layers, "--max-checksum-file-size", "0") == nothing
    os.utime(folder / "many.txt")
    assert would_run(folder, edits, layers) == nothing
    found = would_run(folder, {"gain": {"evolution": {"min_gain": 0.1}}}, layers)["gain"]
    assert found["pairs"] == 1 and "propose" not in found


def large_table(prompts: Path) -> pd.DataFrame:
    """Prompts of a file, each once, with what judges found of it."""
    texts = prompts.read_text(encoding="utf-8").splitlines()[:ROWS]
    rng = np.random.default_rng(1)
    by_id = {prompt_id(text): text for text in texts}
    table = prompts_table(by_id, {one: [f"{text}, slowly"] for one, text in by_id.items()}, 1, first=1)
    table["key"] = [f"{place:032x}" for place in range(len(table))]
    for metric in PAPER:
        table[metric.name] = rng.uniform(1, 4, len(table))
        table[metric.five] = table[metric.name] * metric.to_five
    return table
