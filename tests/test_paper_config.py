"""paper.yaml, authors.yaml, what the authors released and the examples of the documents, laid over config.yaml."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from promptavideo import metrics, published
from promptavideo.captions import UrlSource
from promptavideo.config import Config, check
from promptavideo.errors import InputError
from promptavideo.generators.command import CommandConfig
from promptavideo.generators.diffusers_config import DiffusersConfig
from promptavideo.operators.chat import ChatConfig
from promptavideo.provenance import texts
from promptavideo.refiners.chat_model import ChatModelConfig
from promptavideo.settings import lay
from promptavideo.study import Study

ROOT = Path(__file__).parents[1]


def merged(*overlays: Any) -> Config:
    """config.yaml under the named files or mappings."""
    layers = {"config.yaml": read("config.yaml")}
    for place, overlay in enumerate(overlays):
        layers[str(place)] = read(overlay) if isinstance(overlay, str) else overlay
    raw, origins = lay(layers)
    return check(raw, ROOT, origins)


def read(name: str) -> Any:
    return yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))


def examples(document: str) -> list[str]:
    """The YAML blocks of a document."""
    return re.findall(r"```yaml\n(.*?)```", (ROOT / "docs" / document).read_text(encoding="utf-8"), re.DOTALL)


def written(config: Config, batch: str) -> dict[str, Any]:
    """What CogVideoX's record of a batch says of who wrote it."""
    study = Study(config, ROOT)
    return texts(study, study.batch("cogvideox-5b", batch))


BOOSTERS, PAIRS, BOTH = "released-boosters.yaml", "released-pairs.yaml", "released.yaml"


def cogvideox(config: Config) -> DiffusersConfig:
    entry = config.generators["cogvideox-5b"]
    assert isinstance(entry, DiffusersConfig)
    return entry


def test_the_papers_values() -> None:
    config = merged("paper.yaml")
    assert config.scale == "paper" and list(config.generators) == ["cogvideox-5b", "open-sora-1.2"]
    sampling = cogvideox(config).sampling
    assert (sampling["num_frames"], sampling["num_inference_steps"], sampling["guidance_scale"]) == (33, 50, 6.0)
    assert sampling["use_dynamic_cfg"] is True and cogvideox(config).fps == 8
    open_sora = config.generators["open-sora-1.2"]
    assert isinstance(open_sora, CommandConfig) and open_sora.version == "v1.2.0"
    assert (open_sora.height, open_sora.width, open_sora.frames, open_sora.fps) == (720, 1280, 51, 24)
    asked = {name: config.operators[config.evolution.operator_of(name)] for name in config.generators}
    models = {name: operator.model for name, operator in asked.items() if isinstance(operator, ChatConfig)}
    assert models["cogvideox-5b"].startswith("glm-4") and models["open-sora-1.2"].startswith("gpt-4o")
    evolution = config.evolution
    assert (evolution.rounds, evolution.variants, evolution.parents) == (4, 3, 3)
    assert config.prompt_sets[evolution.prompts].count == 3000
    sft, dpo, preference = config.booster.sft, config.booster.dpo, config.preference
    assert (sft.epochs, sft.batch_size, sft.learning_rate) == (14, 16, 1e-4)
    assert (dpo.epochs, dpo.batch_size, dpo.learning_rate) == (3, 32, 5e-5)
    assert sft.lora.layers is None and dpo.lora.layers is None  # the laptop adapts half of them
    assert (dpo.lora.r, dpo.lora.alpha) == (16, 16)
    assert (preference.rounds, preference.candidates, preference.rule) == (2, 5, "best-worst")
    assert config.booster.base == "llama-3-8b-instruct" and config.booster.dtype == "bfloat16"
    assert list(config.rewards) == ["videoscore", "aesthetic", "mps"]
    assert list(config.reporters) == ["fidelity", "videoreward"]
    assert config.objectives == list(metrics.PAPER)
    assert list(config.boosters) == ["sft", "dpo-1", "dpo-2"]
    assert {"original", "promptist", "sft", "dpo-1", "dpo-2"} <= set(config.evaluation.refiners)
    test = config.prompt_sets[config.evaluation.sets["webvid-test"].prompts]
    assert test.count == 130 and test.source == "webvid-test"
    source = config.prompt_sources["webvid-test"]
    assert isinstance(source, UrlSource) and not source.drop_digits and source.sha256 != "unpinned"
    assert re.search("/[0-9a-f]{40}/benchmark/", source.url)
    assert "webvid-test" in config.prompt_sources["webvid"].without


def test_the_authors_values_lie_over_the_papers() -> None:
    config, paper = merged("paper.yaml", "authors.yaml"), merged("paper.yaml")
    assert (config.evolution.rounds, config.evolution.weights) == (8, {"DD": 0.5})
    sft, dpo = config.booster.sft, config.booster.dpo
    assert (sft.epochs, sft.lora.r, sft.lora.alpha, sft.lora.dropout) == (12, 8, 32, 0.05)
    assert sft.lora.targets == ["q_proj", "v_proj"] and len(dpo.lora.targets) == 7
    assert (dpo.beta, dpo.lora.r, dpo.lora.alpha, dpo.max_length, dpo.warmup_ratio) == (0.1, 16, 16, 1024, 0.1)
    assert (dpo.schedule, paper.booster.dpo.schedule, sft.schedule) == ("linear", "cosine", "cosine")
    assert (getattr(config.judges["mps"], "dtype"), getattr(paper.judges["mps"], "dtype")) == ("bfloat16", "float32")  # noqa: B009
    assert config.preference.rule == "authors"
    assert config.booster.sampling == paper.booster.sampling and config.generators == paper.generators


def parts(*overlays: str) -> dict[str, set[str]]:
    """The parts of the method that each track of the paper's films, with some overlays."""
    study = Study(merged("paper.yaml", *overlays), ROOT)
    return {track: {batch.part for batch in study.batches(track)} for track in study.tracks}


def test_released_boosters_cost_the_evaluation_alone() -> None:
    assert set(map(frozenset, parts(BOOSTERS).values())) == {frozenset({"evaluation"})}
    config = merged("paper.yaml", BOOSTERS)
    for track, of in (("cogvideox-5b", "CV"), ("open-sora-1.2", "OS")):
        (name,) = [one for one in config.evaluation.compared(track) if one.startswith("released")]
        entry = config.refiners[name]
        assert isinstance(entry, ChatModelConfig) and entry.published and entry.released
        assert getattr(config.models[entry.model], "repo_id") == f"jiyatai/Prompt_A_Video_{of}"  # noqa: B009
        drawn = entry.sampling
        assert (drawn.temperature, drawn.top_p, drawn.top_k, drawn.max_new_tokens) == (1.0, 1.0, 50, 256)
        assert (entry.published.constant, entry.published.then) == ("TASK_PROMPT", "$prompt\nNew prompt:\n")


def test_released_pairs_take_the_place_of_the_evolution() -> None:
    assert set(map(frozenset, parts(PAIRS).values())) == {frozenset({"dpo-1", "dpo-2", "evaluation"})}
    study = Study(merged("paper.yaml", PAIRS), ROOT)
    found = {track: study.released(study.booster("sft", track)) for track in study.tracks}
    assert found == {"cogvideox-5b": ["released-cv"], "open-sora-1.2": ["released-os"]}


def test_both_compare_the_released_boosters_with_those_of_the_released_pairs() -> None:
    assert parts(PAIRS, BOOSTERS, BOTH) == parts(PAIRS)
    both, paper = merged("paper.yaml", PAIRS, BOOSTERS, BOTH), merged("paper.yaml")
    for track, name in (("cogvideox-5b", "released-cv"), ("open-sora-1.2", "released-os")):
        assert both.evaluation.compared(track) == [*paper.evaluation.compared(track), name]


def test_released_models_are_no_strangers_in_tables() -> None:
    known = published.sources_at("paper", ROOT)
    assert known and {"jiyatai/Prompt_A_Video_CV", "jiyatai/Prompt_A_Video_OS"} <= set(known)


@pytest.mark.parametrize(("where", "frames"), [("repo_id", 48), ("path", 48), ("repo_id", 16)])
def test_each_version_of_videoscore_gets_the_frames_that_it_was_trained_with(where: str, frames: int) -> None:
    kinds = {"repo_id": {"kind": "hub", "revision": "unpinned"}, "path": {"kind": "local"}}
    version = {"kind": kinds[where]["kind"], **kinds[where], where: "TIGER-Lab/VideoScore-v1.1"}
    overlay = {"models": {"videoscore": version}, "judges": {"videoscore": {"max_frames": frames}}}
    if frames == 48:
        assert merged("paper.yaml", overlay)
    else:
        told = r"judges.videoscore\.max_frames \(2\): TIGER-Lab/VideoScore-v1\.1 was trained with 48 frames; write 48"
        with pytest.raises(InputError, match=told):
            merged("paper.yaml", "authors.yaml", overlay)


def test_the_49_frames_that_cogvideox_is_published_with_are_an_overlay() -> None:
    (overlay,) = [yaml.safe_load(block) for block in examples("reproducing-the-paper.md") if "num_frames: 49" in block]
    longer, paper = cogvideox(merged("paper.yaml", overlay)), cogvideox(merged("paper.yaml"))
    assert longer.sampling == paper.sampling | {"num_frames": 49} and longer.seconds_per_video == 90
    assert longer.decides() != paper.decides(), "they are other videos, with other keys"


def test_a_generator_is_added_in_under_20_lines() -> None:
    first, *_ = examples("adding-a-generator.md")
    assert len(first.splitlines()) < 20
    config = merged(yaml.safe_load(first))
    assert list(config.generators) == ["mini-t2v", "my-generator"]


def test_another_round_changes_no_record_of_the_rounds_before() -> None:
    """A record that changed would be gathered anew, and all that follows from its scores."""
    paper = merged("paper.yaml")
    more = merged("paper.yaml", {"evolution": {"rounds": 5, "min_gain": 0.1}, "preference": {"rounds": 3}})
    for batch in ("evolution/round-0", "evolution/round-4", "dpo-1", "dpo-2", "evaluation/vbench/sft"):
        assert written(paper, batch) == written(more, batch)
    other = merged("paper.yaml", {"evolution": {"variants": 2}})
    assert written(paper, "evolution/round-4") != written(other, "evolution/round-4")
