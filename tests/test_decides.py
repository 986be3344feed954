"""What decides each step: by which changes of the configuration a rule runs again of itself.

A rule whose input was made again runs again too; that is Snakemake's part.
"""

from functools import cache
from typing import Any

import pytest
import yaml
from makers import RAW, ROOT

from promptavideo.batches import RULES, Draw
from promptavideo.comparisons import comparisons
from promptavideo.config import check
from promptavideo.decides import Decides
from promptavideo.layout import REWARDS
from promptavideo.settings import lay
from promptavideo.study import Study

PAPER = yaml.safe_load((ROOT / "paper.yaml").read_text(encoding="utf-8"))
Jobs = dict[tuple[str, ...], str]
RELEASED = {
    section: yaml.safe_load((ROOT / file).read_text(encoding="utf-8"))[section]
    for section, file in {
        "pair_sources": "released-pairs.yaml",
        "models": "released-boosters.yaml",
        "refiners": "released-boosters.yaml",
    }.items()
}
"""What the authors released, which nothing here trains on or compares."""
HOSTED = {
    "kind": "openai-video", "base_url": "https://studio.example/v1", "model": "dream-1", "size": "1280x720",
    "seconds": 4, "price_per_second": 0.1, "seconds_per_video": 90.0,
}  # fmt: skip


def digests(*overlays: dict[str, Any]) -> Jobs:
    """The digest of every job, by its rule and names, of the paper's configuration under some changes."""
    layers = {"config.yaml": RAW, "paper.yaml": PAPER, "hosted": {"generators": {"hosted": HOSTED}}, "more": RELEASED}
    raw, _ = lay(layers | {str(place): overlay for place, overlay in enumerate(overlays)})
    study = Study(check(raw, ROOT), ROOT)
    decides, vbench, jobs = Decides(study), study.vbench, Jobs()

    def job(rule: str, **names: str) -> None:
        jobs[rule, *names.values()] = decides.digest(rule, **names)

    config = study.config
    for group, rule in (
        ("models", "fetch"), ("prompt_sources", "prompt_source"), ("pair_sources", "pair_source"),
        ("prompt_sets", "prompt_set"),
    ):  # fmt: skip
        for name in getattr(config, group):
            job(rule, **{"model" if rule == "fetch" else rule: name})
    for refiner in (name for name, entry in config.refiners.items() if entry.published):
        job("instruction", refiner=refiner)
    for checkpoint in vbench.checkpoints:
        job("vbench_checkpoint", checkpoint=checkpoint)
    for rule in ("check_base", "vbench_prompts", "qualitative", "gallery", "report", "study", "user_study_votes"):
        job(rule)
    job("study_figure", table="transfer")
    for track in study.tracks:
        job("pairs", track=track)
        job("reader", track=track)
        job("negatives", track=track)
        for rule in ("evolution_curve", "training_curves", "contact_sheet", "evolution_story"):
            job(rule, track=track)
        for booster in config.boosters:
            job("train", home=study.booster(booster, track).home, booster=booster)
        for batch in (*study.every_of(track), study.pilot(track)):
            names = {"track": track, "batch": batch.name}
            job(RULES[type(batch.source)], **names)
            job("film", **names, shard="first")
            for judges in batch.judges:
                job("score", **names, judges=judges, shard="first")
                job("gather", **names, judges=judges)
            if isinstance(batch.source, Draw):
                job("triples", **names)
            if vbench.judged(batch):
                job("vbench_videos", **names)
                job("vbench_dimension", **names, dimension="color", shard="first")
                job("gather", **names, judges="vbench")
    for scope in ("tables", *(f"{track}/tables" for track in study.tracks)):
        for table in comparisons(study):
            job("table", scope=scope, table=table)
    return jobs


@cache
def plain() -> Jobs:
    return digests()


def changed(*overlays: dict[str, Any]) -> list[tuple[str, ...]]:
    """The jobs that there were before some changes, and whose digest is another one."""
    before, after = plain(), digests(*overlays)
    return [job for job, digest in before.items() if job in after and after[job] != digest]


def rules(*overlays: dict[str, Any]) -> set[str]:
    return {rule for rule, *_ in changed(*overlays)}


COGVIDEO, OPEN_SORA = "cogvideox-5b", "open-sora-1.2"


@pytest.mark.parametrize(
    "overlay",
    [
        {"store": "elsewhere"},
        {"shard_minutes": 5.0, "score_minutes": 10.0},
        {"shard_minutes": None, "shard_size": 7},
        {"planning": {"gpu_hour_price": 9.0, "currency": "EUR", "seconds_per_score": 9.0, "request_tokens": 9}},
        {"planning": {"reference": {"filming": 1.0, "training": 1.0, "plain": 1.0}}},
        {"qualitative": {"track": COGVIDEO, "set": "webvid-test"}},  # what a key says that is absent
        {"generators": {COGVIDEO: {"seconds_per_video": 9.0, "device": "auto", "offload": "model"}}},
        {"generators": {OPEN_SORA: {"seconds_per_video": 9.0, "timeout_s": 9.0, "batch_size": 9, "threads": 2}}},
        {"generators": {OPEN_SORA: {"pass_environment": ["HOME"], "checkout": "elsewhere"}}},
        {
            "generators": {
                "hosted": {
                    "price_per_second": 9.0, "budget": {"money": 9.0}, "batch_size": 9, "key_variable": "MINE",
                    "poll_s": 9.0, "retries": {"attempts": 9}, "seconds_per_video": 9.0,
                }
            }
        },
        {"judges": {"videoscore": {"batch_size": 9, "device": "auto", "threads": 2}, "mps": {"batch_size": 9}}},
        {"judges": {"videoreward": {"batch_size": 9}, "fidelity": {"batch_size": 9, "threads": 2, "device": "cpu"}}},
        {"judges": {"videoreward": {"on": ["webvid-test"]}}},
        {
            "operators": {
                "gpt-4o": {
                    "prices": {"prompt": 9.0, "completion": 9.0}, "budget": {"money": 9.0},
                    "concurrency": 2, "key_variable": "MINE", "headers": {"a": "MINE"}, "stream": True,
                    "timeout_s": 9.0, "requests_per_minute": 9.0, "tokens_per_minute": 9.0, "retries": {"attempts": 9},
                }
            }
        },
        {"booster": {"device": "auto", "devices": 2, "sampling": {"gpu_memory": 0.5}}},
        {
            "booster": {
                stage: {"micro_batch_size": 1, "checkpoint_steps": 3, "gradient_checkpointing": True}
                for stage in ("sft", "dpo")
            }
        },
        {"refiners": {"promptist": {"device": "cpu"}}},
        {"vbench": {"python": "elsewhere/python", "device": "auto", "shard_size": 7}},
        {"user_study": {"votes": "elsewhere"}},
        {"preference": {"authors": {"min_gap": 9.0, "weights": {"DD": 9.0}}}},  # of the rule that is not chosen
        {"generators": {COGVIDEO: {"vae_slicing": False, "component_dtypes": {}}}},  # what a key says that is absent
        {"operators": {"more": {"kind": "recombine"}}, "refiners": {"more": {"kind": "llm", "operator": "more"}}},
        {"prompt_sets": {"another": {"file": "resources/prompts/miniature-heldout.txt"}}},
        {"models": {"another": {"kind": "local", "path": "somewhere"}}},
        {"boosters": {"another": {"trainer": "sft", "tracks": ["hosted"]}}},
    ],
)  # fmt: skip
def test_how_work_is_done_and_what_nothing_uses_decide_nothing(overlay: dict[str, Any]) -> None:
    assert [job for job in changed(overlay) if job[0] != "training_curves"] == []


@pytest.mark.parametrize(
    ("overlay", "decided"),
    [
        (
            {"seed": 2},
            {"propose", "candidates", "refine", "train", "table", "study"},
        ),
        ({"models": {"cogvideox-5b": {"revision": "v2"}}}, {"fetch"}),
        ({"prompt_sets": {"webvid-test": {"count": 100}}}, {"prompt_set"}),
        ({"prompt_sources": {"webvid": {"keep": 10000}}}, {"prompt_source"}),
        ({"prompt_sources": {"webvid": {"without": ["vbench"]}}}, {"prompt_source"}),
        ({"prompt_sources": {"webvid-test": {"sha256": "0" * 64}}}, {"prompt_source"}),
        ({"pair_sources": {"released-cv": {"max_words": 100}}}, {"pair_source"}),
        ({"boosters": {"sft": {"data": {"pairs": {COGVIDEO: "released-cv"}}}}}, {"train", "report"}),
        ({"refiners": {"released-cv": {"instruction": {"then": "$prompt"}}}}, {"instruction", "refine"}),
        ({"refiners": {"released-cv": {"sampling": {"top_k": 5}}}}, {"refine"}),
        ({"generators": {COGVIDEO: {"sampling": {"num_inference_steps": 30}}}}, {"film"}),
        ({"generators": {COGVIDEO: {"dtype": "float16"}}}, {"film"}),
        ({"generators": {OPEN_SORA: {"fps": 12}}}, {"film"}),
        ({"generators": {"hosted": {"seconds": 8}}}, {"film"}),
        ({"judges": {"videoscore": {"dtype": "float32"}}}, {"score"}),
        ({"judges": {"fidelity": {"max_tokens": 128}}}, {"score"}),
        ({"judges": {"fidelity": {"metrics": ["KEEP"]}}}, {"score", "gather", "table", "gallery"}),
        ({"operators": {"glm-4": {"temperature": 0.5}}}, {"propose"}),
        ({"operators": {"glm-4-refiner": {"temperature": 0.5}}}, {"refine"}),
        ({"refiners": {"glm-4": {"attempts": 3}}}, {"refine"}),
        ({"evolution": {"operators": {COGVIDEO: "gpt-4o"}}}, {"propose"}),
        ({"evolution": {"variants": 2}}, {"propose"}),
        ({"evolution": {"limits": {"max_words": 100}}}, {"propose"}),
        ({"evolution": {"weights": {"DD": 0.5}}}, {"propose", "pairs", "evolution_curve", "evolution_story"}),
        ({"evolution": {"story": ["a dog"]}}, {"evolution_story"}),
        ({"evolution": {"min_gain": 0.1}}, {"pairs"}),
        ({"evolution": {"thresholds": {"VQ": 2.0}}}, {"pairs"}),
        ({"evolution": {"rounds": 5}}, {"pairs", "evolution_curve", "evolution_story", "table"}),
        ({"preference": {"rounds": 3}}, {"training_curves"}),
        ({"preference": {"candidates": 4}}, {"candidates"}),
        ({"preference": {"best_worst": {"min_gap": 0.1}}}, {"triples"}),
        ({"preference": {"rule": "authors"}}, {"triples"}),
        ({"booster": {"sampling": {"temperature": 0.5}}}, {"candidates", "refine"}),
        ({"booster": {"instruction": "templates/booster.txt", "threads": 4}}, {"train"}),
        ({"booster": {"dtype": "float32"}}, {"candidates", "refine", "train"}),
        ({"booster": {"dpo": {"beta": 0.5}}}, {"train"}),
        ({"booster": {"sft": {"lora": {"r": 8}}}}, {"train"}),
        ({"booster": {"sft": {"lora": {"targets": ["q_proj"]}}}}, {"check_base", "train"}),
        ({"boosters": {"dpo-2": {"settings": {"beta": 0.5}}}}, {"train"}),
        ({"boosters": {"dpo-2": {"from": "sft"}}}, {"candidates", "train", "table"}),
        ({"boosters": {"dpo-2": {"data": {"prompts": "evolution"}}}}, {"candidates"}),
        ({"evaluation": {"bootstrap": {"resamples": 99}}}, {"table", "evolution_curve"}),
        ({"evaluation": {"average": ["VQ"]}}, {"table", "qualitative", "gallery", "report"}),
        ({"qualitative": {"count": 2}}, {"qualitative"}),
        ({"qualitative": {"track": OPEN_SORA}}, {"qualitative"}),
        ({"evaluation": {"studies": ["convergence"]}}, {"report"}),
        ({"evaluation": {"sets": {"webvid-test": {"replicates": 2}}}}, {"refine"}),
        (
            {"evaluation": {"refiners": ["original", "sft"]}},
            {"table", "contact_sheet", "qualitative", "gallery", "report", "study"},
        ),
        ({"gallery": {"crf": 20}}, {"gallery"}),
        ({"gallery": {"threads": 8}}, set()),
        (
            {"objective": ["MPS", "AES", "FC", "TVA", "DD", "TC", "VQ"]},
            {"propose", "score", "gather", "pairs", "triples", "table", "evolution_story", "qualitative", "gallery"},
        ),
        ({"vbench": {"sha256": "0" * 64}}, {"vbench_prompts"}),
        ({"negatives": {"operator": "gpt-4o"}}, {"negatives"}),
        ({"user_study": {"raters": 40}}, {"study"}),
        ({"user_study": {"pairs": [["sft", "original"]]}}, {"study", "table"}),
        ({"user_study": {"most_pixels": 512}}, {"study"}),
        ({"user_study": {"least_checks": 0.5}}, {"table"}),
    ],
)
def test_what_decides_reruns_its_step_alone(overlay: dict[str, Any], decided: set[str]) -> None:
    assert rules(overlay) == decided


def test_another_scale_renames_tables_alone() -> None:
    assert rules({"scale": "laptop"}) == {"table", "evolution_story", "qualitative", "gallery"}


def test_a_dpo_setting_trains_dpo_alone() -> None:
    trained = changed({"booster": {"dpo": {"beta": 0.5}}})
    assert {booster for _, _, booster in trained} == {"dpo-1", "dpo-2"}
    trained = changed({"boosters": {"dpo-2": {"settings": {"beta": 0.5}}}})
    assert {booster for _, _, booster in trained} == {"dpo-2"}


def test_an_operator_decides_the_rounds_of_its_track_after_the_first() -> None:
    asked = changed({"operators": {"glm-4": {"temperature": 0.5}}})
    assert {track for _, track, _ in asked} == {COGVIDEO}
    assert {batch for *_, batch in asked} == {f"evolution/round-{number}" for number in range(1, 5)}


def test_another_round_changes_none_before_it() -> None:
    assert not {"propose", "candidates", "train"} & rules({"evolution": {"rounds": 5}, "preference": {"rounds": 3}})


def test_a_generator_decides_its_own_videos() -> None:
    filmed = changed({"generators": {OPEN_SORA: {"fps": 12}}})
    assert {track for _, track, *_ in filmed} == {OPEN_SORA}


def test_a_judge_that_reports_decides_no_score_of_the_rewards() -> None:
    scored = changed({"judges": {"fidelity": {"max_tokens": 128}}})
    assert {judges for *_, judges, _ in scored} == {"fidelity"}
    scored = changed({"judges": {"mps": {"dtype": "bfloat16"}}})
    assert {judges for *_, judges, _ in scored} == {REWARDS}


def test_another_refiner_is_another_batch_and_another_row() -> None:
    listed = PAPER["evaluation"]["refiners"]
    overlay = {"refiners": {"words": {"kind": "promptist", "model": "promptist", "tokenizer": "gpt2"}}}
    assert rules(overlay | {"evaluation": {"refiners": [*listed, "words"]}}) == {"table", "gallery"}


def test_a_judges_version_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    from promptavideo.judges.fidelity import FidelityConfig

    before = plain()
    monkeypatch.setattr(FidelityConfig, "VERSION", 99)
    after = digests()
    scored = [job for job in before if before[job] != after[job]]
    assert {(job[0], job[3]) for job in scored} == {("score", "fidelity")}


def test_a_booster_of_several_tracks_is_decided_by_which() -> None:
    both = {"boosters": {"all": {"trainer": "sft", "tracks": [COGVIDEO, OPEN_SORA]}}}
    more = {"boosters": {"all": {"trainer": "sft", "tracks": [COGVIDEO, OPEN_SORA, "hosted"]}}}
    job = ("train", "shared", "all")
    assert digests(both)[job] == digests(both)[job] != digests(more)[job]


NEGATIVES: dict[str, Any] = {
    "negatives": {"operator": "gpt-4o"},
    "boosters": {
        "n-sft": {"trainer": "sft", "data": "negatives"},
        "n-dpo": {"trainer": "dpo", "from": "n-sft", "data": {"of": "dpo-2"}},
    },
    "refiners": {
        "n-fixed": {"kind": "negative", "of": "dpo-2", "text": "templates/negative_fixed.txt"},
        "n-asked": {
            "kind": "negative", "of": "dpo-2", "operator": "gpt-4o", "template": "templates/negative.txt"
        },
        "n-tuned": {"kind": "negative", "of": "dpo-2", "booster": "n-dpo"},
    },
}  # fmt: skip


@pytest.mark.parametrize(
    ("overlay", "decided"),
    [
        ({"booster": {"negative": {"instruction": "templates/booster.txt"}}}, {"n-sft", "n-dpo", "n-tuned"}),
        ({"booster": {"negative": {"sampling": {"max_new_tokens": 9}}}}, {"n-dpo", "n-tuned"}),
        ({"booster": {"negative": {"descriptors": {"max_words": 9}}}}, {"n-dpo"}),
        ({"boosters": {"n-dpo": {"data": {"of": "dpo-1"}}}}, {"n-dpo"}),
        ({"boosters": {"n-sft": {"settings": {"epochs": 9}}}}, {"n-sft"}),
        ({"negatives": {"template": "templates/refine.txt"}}, {"negatives"}),
        ({"refiners": {"n-fixed": {"descriptors": {"max_words": 9}}}}, {"n-fixed"}),
        ({"refiners": {"n-asked": {"attempts": 2}}}, {"n-asked"}),
        ({"refiners": {"n-tuned": {"booster": "n-sft"}}}, {"n-tuned"}),
    ],
)
def test_what_decides_negative_prompts_decides_these_alone(overlay: dict[str, Any], decided: set[str]) -> None:
    before, after = digests(NEGATIVES), digests(NEGATIVES, overlay)
    found = [job for job in before if job in after and before[job] != after[job]]
    assert {job[0] if job[0] == "negatives" else job[2].rpartition("/")[2] for job in found} == decided
    assert rules(NEGATIVES) <= {"negatives", "training_curves"}, "that there are such boosters renames nothing else"


def test_a_digest_is_twelve_digits_and_every_rule_has_one() -> None:
    assert all(len(digest) == 12 and int(digest, 16) >= 0 for digest in plain().values())
    named = {name for name in vars(Decides) if not name.startswith("_")} - {"digest", "miniature_card"}
    assert {rule for rule, *_ in plain()} == named
