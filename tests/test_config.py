import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
import yaml
from makers import GONE, RAW, ROOT, changed, message

from promptavideo.boosters.trainers import DpoConfig, SftConfig
from promptavideo.config import Config, check
from promptavideo.errors import InputError
from promptavideo.generators import source
from promptavideo.generators.diffusers_config import DiffusersConfig
from promptavideo.prompts import prompt_id
from promptavideo.settings import lay

PAPER = yaml.safe_load((ROOT / "paper.yaml").read_text(encoding="utf-8"))


def test_the_repositorys_own_configuration_passes_without_torch() -> None:
    code = textwrap.dedent("""
        import sys, yaml
        from pathlib import Path
        from promptavideo.config import check
        raw = yaml.safe_load(Path("config.yaml").read_text())
        check(raw, Path())
        print(*{"torch", "diffusers", "transformers", "openai", "httpx2"} & set(sys.modules))
    """)
    answer = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env={"PYTHONPATH": "."}, capture_output=True, text=True
    )
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.split() == [], "planning takes seconds only without them"


@pytest.mark.parametrize(
    ("path", "value", "line"),
    [
        ("shards", 3, "shards: there is no such key (found 3)"),
        ("evolution/round", 3, "evolution.round: there is no such key (found 3)"),
        ("evolution/weights", {"XX": 1.0}, "evolution.weights.XX: is not in the objective (VQ, TC, DD, TVA, FC, AES, "),
        ("booster/dpo/lora/rank", 8, "booster.dpo.lora.rank: there is no such key (found 8)"),
        ("models/smollm2-135m/url", "x", "models.smollm2-135m.url: there is no such key (found 'x')"),
        ("refiners/llm/llm", "x", "refiners.llm.llm: there is no such key (found 'x')"),
        ("generators/mini-t2v/frames", 8, "generators.mini-t2v.frames: there is no such key (found 8)"),
        ("evaluation/sets/heldout/count", 8, "evaluation.sets.heldout.count: there is no such key (found 8)"),
        ("seed", GONE, "seed: is missing"),
        ("models/smollm2-135m/package", GONE, "models.smollm2-135m.package: is missing"),
        ("models/smollm2-135m/package", 3, "models.smollm2-135m.package: Input should be a valid string (found 3)"),
        ("seed", "1", "seed: YAML reads this as text; write 1, without quotes (found '1')"),
        ("seed", True, "seed: Input should be a valid integer (found True)"),
        ("seed", -1, "seed: Input should be greater than or equal to 0 (found -1)"),
        ("shard_size", 0, "shard_size: Input should be greater than or equal to 1 (found 0)"),
        ("shard_size", 2.5, "shard_size: Input should be a valid integer (found 2.5)"),
        ("scale", "desk", "scale: Input should be 'laptop' or 'paper' (found 'desk')"),
        ("store", "", "store: String should have at least 1 character (found '')"),
        ("booster/sft/learning_rate", float("nan"), "booster.sft.learning_rate: Input should be"),
        ("generators/mini-t2v/fps", 0, "generators.mini-t2v.fps: Input should be greater than 0 (found 0)"),
        ("generators/mini-t2v/kind", "sora", "generators.mini-t2v: Input tag 'sora' found using 'kind' does not match"),
        ("generators", {}, "generators: Dictionary should have at least 1 item"),
        ("refiners/sft/kind", "magic", "refiners.sft: Input tag 'magic' found using 'kind' does not match"),
        ("evaluation/refiners", "original", "evaluation.refiners: Input should be a valid list (found 'original')"),
        ("evaluation/refiners", ["original", 3], "evaluation.refiners.1: Input should be a valid string (found 3)"),
        ("prompt_sets/heldout/file", "x.docx", "prompt_sets.heldout.file: String should match pattern"),
    ],
)
def test_a_key_that_cannot_be_meant_is_named(path: str, value: object, line: str) -> None:
    first, *lines = message(changed(path, value)).splitlines()
    assert first == "the configuration cannot be used:"
    assert len(lines) == 1 and lines[0].startswith(f"  {line}")


def test_a_setting_of_several_types_is_one_line() -> None:
    _, *lines = message(changed("generators/mini-t2v/sampling/height", {"a": 32})).splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("  generators.mini-t2v.sampling.height: ")


def test_every_offending_key_is_listed_at_once() -> None:
    raw = changed("seed", "one") | {"shard_size": 0, "colour": "red"}
    text = message(raw)
    assert all(f"\n  {key}: " in text for key in ("seed", "shard_size", "colour"))
    names = changed("evolution/operator", "gpt") | {"preference": {"prompts": "nothing"}}
    text = message(names)
    assert all(f"\n  {key}: there is no" in text for key in ("evolution.operator", "preference.prompts"))


@pytest.mark.parametrize("raw", [None, [], "text", {}])
def test_what_is_no_configuration_is_refused(raw: Any) -> None:
    assert message(raw).startswith("the configuration cannot be used:\n  ")


@pytest.mark.parametrize(
    ("path", "value", "known"),
    [
        ("evolution/prompts", "nothing", "evolution, preference, heldout"),
        ("evolution/operator", "nothing", "recombine"),
        ("preference/prompts", "nothing", "evolution, preference, heldout"),
        ("booster/base", "nothing", "smollm2-135m, minilm-l6"),
        ("booster/base", "mini-t2v", "smollm2-135m, minilm-l6"),
        ("generators/mini-t2v/model", "nothing", "smollm2-135m, minilm-l6, witness, mini-t2v"),
        ("models/mini-t2v/text_encoder", "nothing", "smollm2-135m, minilm-l6"),
        ("models/mini-t2v/text_encoder", "mini-t2v", "smollm2-135m, minilm-l6"),
        ("refiners/llm/operator", "nothing", "recombine"),
        ("refiners/dpo-2/booster", "dpo-3", "sft, dpo-1, dpo-2"),
        ("evaluation/sets/heldout/prompts", "nothing", "evolution, preference, heldout"),
    ],
)
def test_a_name_that_nobody_declares_is_named_with_the_known_ones(path: str, value: str, known: str) -> None:
    key = path.replace("/", ".")
    assert f"\n  {key}: there is no {value!r}; known are {known}" in message(changed(path, value))


def test_an_adapter_that_no_model_is_is_named_by_its_own_key() -> None:
    raw = changed("generators/mini-t2v/loras", [{"model": "mini-t2v"}, {"model": "nothing"}])
    assert "\n  generators.mini-t2v.loras.1.model: there is no 'nothing'; known are" in message(raw)


def test_the_refiners_of_an_evaluation_are_declared_and_hold_the_original_once() -> None:
    key = "evaluation/refiners"
    assert "evaluation.refiners: there is no 'vpo'; known are original, llm" in message(
        changed(key, ["original", "vpo"])
    )
    assert "evaluation.refiners: 'original' must be among them" in message(changed(key, ["llm"]))
    assert "evaluation.refiners: 'llm' is listed more than once" in message(changed(key, ["original", "llm", "llm"]))
    fake = {"kind": "llm", "operator": "recombine"}
    assert "refiners.original.kind: must be 'original'" in message(changed("refiners/original", fake))


def test_each_metric_is_filled_by_one_reward() -> None:
    text = message(changed("judges/again", {"kind": "pixels"}))
    assert "judges: VQ must be filled once, but is filled by judges.pixels and judges.again" in text
    assert text.count("must be filled once") == 7
    assert "judges: Dictionary should have at least 1 item" in message(changed("judges", {}))


@pytest.mark.parametrize(
    "name", ["../x", "Upper", "two words", "", ".", "-x", "a/b", "x" * 41, "a\n", "ünder", "$(rm)"]
)
@pytest.mark.parametrize("group", ["models", "prompt_sets", "generators", "operators", "refiners", "evaluation/sets"])
def test_bad_names_are_refused_in_every_group(group: str, name: str) -> None:
    *parents, last = group.split("/")
    entries = RAW
    for part in (*parents, last):
        entries = entries[part]
    text = message(changed(f"{group}", {**entries, name: next(iter(entries.values()))}))
    assert f"{group.replace('/', '.')}.{name}: a name holds a-z, 0-9, '.' and '-' only, 40 at most" in text


def test_names_with_dots_pass_and_names_that_are_no_text_do_not() -> None:
    generator = RAW["generators"]["mini-t2v"]
    assert "cogvideox-1.5" in check(changed("generators/cogvideox-1.5", generator), ROOT).generators
    assert "generators.15: Input should be a valid string" in message(changed("generators", {15: generator}))


def test_boosters_are_not_tested_on_what_they_learn_from() -> None:
    text = message(changed("evaluation/sets/heldout/prompts", "preference"))
    assert "evaluation.sets.heldout.prompts: boosters learn from 'preference' (preference.prompts)" in text
    overlapping = {"file": "resources/prompts/miniature-train.txt", "first": 119, "count": 5}
    text = message(changed("prompt_sets/heldout", overlapping))
    assert "prompt_sets.preference and prompt_sets.heldout must not share prompts, but 1 stand in both" in text


BAD_FILES = [
    (None, "does not exist"),
    (b"", "holds no prompt"),
    (b"# a comment alone\n\n", "holds no prompt"),
    (b"a cat\nA  CAT\n", "lines 1 and 2 hold the same prompt"),
    (b"a cat\n\xff\xfe\n", "line 2: not UTF-8"),
    (b"a cat\n" + b"very " * 4999 + b"long\n", "line 2: 5000 words, more than prompt_sets.mine.max_words=200"),
]


@pytest.mark.parametrize(("content", "what"), BAD_FILES)
def test_a_bad_prompt_file_is_named_with_its_key(tmp_path: Path, content: bytes | None, what: str) -> None:
    path = tmp_path / "mine.txt"
    if content is not None:
        path.write_bytes(content)
    text = message(changed("prompt_sets/mine", {"file": str(path)}))
    assert text.startswith("prompt_sets.mine.file: ") and str(path) in text and what in text


def test_hostile_prompts_pass_and_their_ids_are_plain(tmp_path: Path) -> None:
    prompts = ["../../x", "$(rm -rf /)", "<script>alert(1)</script>", "a 'quoted' \"cat\"; ls", "{braces} $dollar %s"]
    path = tmp_path / "mine.txt"
    path.write_text("\n".join(prompts), encoding="utf-8")
    check(changed("prompt_sets/mine", {"file": str(path)}), ROOT)
    assert all(prompt_id(prompt)[1:].isalnum() and len(prompt_id(prompt)) == 13 for prompt in prompts)


@pytest.mark.parametrize("key", ["booster/instruction", "evolution/template", "refiners/llm/template"])
def test_a_template_that_is_missing_or_lacks_a_placeholder_is_named_with_its_key(tmp_path: Path, key: str) -> None:
    path = tmp_path / "mine.txt"
    text = message(changed(key, str(path)))
    assert text.startswith(f"{key.replace('/', '.')}: ") and str(path) in text
    path.write_text("Write something nice.\n")
    text = message(changed(key, str(path)))
    assert text.startswith(f"{key.replace('/', '.')}: ") and "$" in text


def test_an_unknown_pipeline_or_argument_is_refused() -> None:
    key = "generators/mini-t2v"
    assert message(changed(f"{key}/pipeline", "FooPipeline")).startswith("generators.mini-t2v.pipeline: diffusers ")
    text = message(changed(f"{key}/sampling/video_lengths", 8))
    assert text.startswith("generators.mini-t2v.sampling.video_lengths: LattePipeline takes no such setting; known: ")
    assert "video_length" in text
    for reserved in ("prompt", "negative_prompt", "latents", "self"):
        text = message(changed(f"{key}/sampling/{reserved}", "x"))
        assert text.startswith(f"generators.mini-t2v.sampling.{reserved}: LattePipeline takes no such setting")
    text = message(changed(f"{key}/pipeline", "StableVideoDiffusionPipeline"))
    assert "StableVideoDiffusionPipeline needs image, which no configuration gives" in text


@pytest.mark.parametrize(
    ("pipeline", "setting"),
    [
        ("CogVideoXPipeline", "eta"),
        ("WanPipeline", "guidance_scale_2"),
        ("HunyuanVideoPipeline", "true_cfg_scale"),
        ("MochiPipeline", "num_frames"),
        ("AnimateDiffPipeline", "num_frames"),  # its call takes anything
    ],
)
def test_the_pipelines_of_the_pinned_diffusers_are_found(pipeline: str, setting: str) -> None:
    raw = changed("generators/mini-t2v/pipeline", pipeline)
    raw["generators"]["mini-t2v"]["sampling"] = {setting: 1}
    entry = check(raw, ROOT).generators["mini-t2v"]
    assert isinstance(entry, DiffusersConfig) and entry.pipeline == pipeline


def test_each_file_of_diffusers_is_parsed_once() -> None:
    source._parse.cache_clear()
    config: Config = check(RAW, ROOT)
    parsed = source._parse.cache_info().misses
    for _ in range(10):
        config.generators["mini-t2v"].check("generators.mini-t2v", config, ROOT)
    assert 0 < source._parse.cache_info().misses == parsed < 20


def test_nothing_is_checked_where_diffusers_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert check(changed("generators/mini-t2v/pipeline", "FooPipeline"), ROOT)


def test_a_null_takes_away_an_entry_that_another_file_declares() -> None:
    raw = changed("generators/second", changed("seed", 1)["generators"]["mini-t2v"])
    raw["generators"]["mini-t2v"] = None
    raw["planning"] = None
    assert list(check(raw, ROOT).generators) == ["second"]


def test_shards_are_given_in_one_way() -> None:
    with pytest.raises(InputError, match="shard_size, shard_minutes: give one of the two"):
        check(changed("shard_minutes", 5.0), ROOT)


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        ("generators/mini-t2v/sampling/guidance_scale", "5e-2", "write 5.0e-2, without quotes"),
        ("generators/mini-t2v/sampling/num_inference_steps", "50", "write 50, without quotes"),
        (
            "generators/mini-t2v/scheduler",
            {"name": "DDIMScheduler", "settings": {"eta": "1e3"}},
            "write 1.0e3, without",
        ),
        ("booster/sft/learning_rate", "1e-4", "write 1.0e-4, without quotes"),
        ("preference/rounds", "2", "write 2, without quotes"),
    ],
)
def test_a_number_that_yaml_reads_as_text_is_named_with_its_cure(path: str, value: object, told: str) -> None:
    said = message(changed(path, value))
    assert path.replace("/", ".") in said and told in said


def test_yaml_reads_a_number_without_a_dot_as_text() -> None:
    assert yaml.safe_load("5e-2") == "5e-2" and yaml.safe_load("5.0e-2") == 0.05


class TestMetrics:
    """What is measured, and what of it selects and trains."""

    def test_the_objective_is_what_the_rewards_fill(self) -> None:
        config = check(RAW, ROOT)
        assert [metric.name for metric in config.objectives] == ["VQ", "TC", "DD", "TVA", "FC", "AES", "MPS"]
        assert (list(config.rewards), list(config.reporters)) == (["pixels"], ["witness", "fidelity"])

    def test_a_judge_may_fill_a_part_of_what_it_can(self) -> None:
        raw = changed("judges/pixels/metrics", ["TC", "VQ"]) | {"objective": ["TC", "VQ"]}
        raw["evaluation"]["average"] = ["VQ"]
        config = check(raw, ROOT)
        assert [metric.name for metric in config.objectives] == ["TC", "VQ"], "in the objective's order"
        assert "judges.pixels.metrics: " not in message(raw | {"seed": "x"})
        text = message(changed("judges/pixels/metrics", ["VQ", "BEAUTY"]))
        assert "judges.pixels: metrics: there is no 'BEAUTY'; known are VQ, TC, DD, TVA, FC, AES, MPS" in text

    @pytest.mark.parametrize(
        ("path", "value", "told"),
        [
            ("objective", ["VQ", "KIND"], "judges: KIND must be filled once, but is filled by none"),
            ("objective", ["VQ"], "judges.pixels: fills TC, DD, TVA, FC, AES, MPS, which the objective does not name"),
            ("objective", ["VQ", "VQ"], "objective: 'VQ' is listed more than once"),
            ("objective", [], "objective: List should have at least 1 item"),
            ("judges/fidelity/role", "reward", "judges.fidelity: fills KEEP, SENSE, which the objective does not name"),
            ("judges/pixels/role", "report", "judges: VQ must be filled once, but is filled by none"),
            ("judges/again", {"kind": "pixels", "role": "report"}, "judges: TVA is filled more than once; name the"),
            ("judges/witness/on", ["held"], "judges.witness.on: there is no 'held'; known are heldout"),
            ("judges/pixels/on", ["heldout"], "judges.pixels: on: belongs to judges of `role: report`"),
            ("judges/pixels/role", "judge", "judges.pixels.role: Input should be 'reward' or 'report'"),
            ("evaluation/average", ["KEEP"], "evaluation.average: 'KEEP' is not in the objective"),
            ("evolution/weights", {"KEEP": 1.0}, "evolution.weights.KEEP: is not in the objective"),
            ("evolution/thresholds", {"NONE": 1.0}, "evolution.thresholds.NONE: no judge fills it; known are VQ, TC"),
            (
                "preference/best_worst",
                {"thresholds": {"NONE": 1.0}},
                "preference.best_worst.thresholds.NONE: no judge fills it",
            ),
            (
                "evolution/weights",
                dict.fromkeys(["VQ", "TC", "DD", "TVA", "FC", "AES", "MPS"], 0.0),
                "evolution.weights: all weights are 0: every total would be the same",
            ),
        ],
    )
    def test_what_cannot_be_measured_is_named(self, path: str, value: object, told: str) -> None:
        assert f"\n  {told}" in message(changed(path, value))

    def test_two_judges_that_report_share_no_metric_unless_each_names_its_own(self) -> None:
        raw = changed("judges/other", RAW["judges"]["fidelity"] | {"metrics": ["KEEP"]})
        assert "\n  judges: KEEP is filled more than once" in message(raw)
        raw["judges"]["fidelity"] = RAW["judges"]["fidelity"] | {"metrics": ["SENSE"]}
        assert list(check(raw, ROOT).reporters) == ["witness", "fidelity", "other"]

    def test_a_threshold_may_be_of_a_judge_that_only_reports(self) -> None:
        assert not check(RAW, ROOT).thresholds_outside()
        assert check(changed("evolution/thresholds", {"KEEP": 0.5}), ROOT).thresholds_outside() == ["fidelity"]
        best_worst = {"thresholds": {"AGREE": 0.5, "VQ": 2.0}}
        assert check(changed("preference/best_worst", best_worst), ROOT).thresholds_outside() == ["witness"]

    def test_the_authors_rule_is_held_against_the_objective_only_where_it_is_used(self) -> None:
        raw = changed("judges/pixels/metrics", ["VQ"]) | {"objective": ["VQ"]}
        raw["evaluation"]["average"] = ["VQ"]
        assert check(raw, ROOT)
        raw["preference"] = RAW["preference"] | {"rule": "authors"}
        text = message(raw)
        assert "preference.authors.weights.DD: is not in the objective (VQ)" in text
        assert "preference.authors.thresholds.AES: no judge fills it" in text


class TestBoosters:
    """Boosters are entries over the paper's chain."""

    def test_the_papers_chain_needs_no_lines(self) -> None:
        chain = check(changed("preference/rounds", 3), ROOT).boosters
        assert {name: (type(entry), entry.start) for name, entry in chain.items()} == {
            "sft": (SftConfig, None),
            "dpo-1": (DpoConfig, "sft"),
            "dpo-2": (DpoConfig, "dpo-1"),
            "dpo-3": (DpoConfig, "dpo-2"),
        }

    def test_entries_are_laid_over_it(self) -> None:
        config = check(changed("boosters", {"dpo-2": {"from": "sft", "settings": {"beta": 0.5}}}), ROOT)
        entry = config.boosters["dpo-2"]
        assert entry.start == "sft" and entry.settled(config.booster) == config.booster.dpo.model_copy(
            update={"beta": 0.5}
        )
        assert "dpo-2" not in check(changed("boosters", {"dpo-2": None}) | WITHOUT_DPO_2, ROOT).boosters

    @pytest.mark.parametrize(
        ("boosters", "told"),
        [
            ({"mine": {"trainer": "ppo"}}, "boosters.mine: Input tag 'ppo' found using 'trainer' does not match any"),
            ({"mine": {}}, "boosters.mine: Unable to extract tag using discriminator 'trainer'"),
            ({"mine": {"trainer": "sft", "form": "sft"}}, "boosters.mine.form: there is no such key"),
            ({"dpo-2": {"from": "dpo-9"}}, "boosters.dpo-2.from: there is no 'dpo-9'; known are sft, dpo-1, dpo-2"),
            (
                {"dpo-2": {"data": {"draw": "dpo-9"}}},
                "boosters.dpo-2.data.draw: there is no 'dpo-9'; known are sft, dpo-1, dpo-2",
            ),
            (
                {"dpo-2": {"data": {"prompts": "none"}}},
                "boosters.dpo-2.data.prompts: there is no 'none'; known are evolution, preference, heldout",
            ),
            ({"mine": {"trainer": "dpo"}}, "boosters.mine.data.draw: a booster must draw its candidates; give `draw`"),
            ({"dpo-2": {"from": "b/sft"}}, "boosters.dpo-2.from: there is no track 'b'; known are mini-t2v"),
            (
                {"all": {"trainer": "sft", "tracks": ["mini-t2v", "b"]}},
                "boosters.all.tracks: there is no 'b'; known are mini-t2v",
            ),
            (
                {"all": {"trainer": "sft", "tracks": ["mini-t2v"], "from": "sft"}},
                "boosters.all: it is shared by tracks, and sft is not; write TRACK/sft",
            ),
            (
                {"all": {"trainer": "sft", "tracks": ["mini-t2v"]}, "dpo-1": {"from": "mini-t2v/all"}},
                "boosters.dpo-1.from: all is shared by tracks; write all",
            ),
            ({"sft": {"from": "dpo-2"}}, "boosters.sft: needs itself, by way of dpo-2, dpo-1, sft; change a `from`"),
            ({"sft": {"from": "mini-t2v/sft"}}, "boosters.sft: needs itself, by way of sft; change a `from` or `draw`"),
            ({"dpo-1": {"data": {"draw": "dpo-2"}}}, "boosters.dpo-1: needs itself, by way of sft, dpo-2, dpo-1;"),
            (
                {"sft": {"settings": {"batch_size": 6}}},
                "boosters.sft.settings.batch_size 6 is no multiple of micro_batch_size 4 x 1 devices",
            ),
            (
                {"dpo-2": {"data": {"prompts": "heldout"}}},
                "evaluation.sets.heldout.prompts: boosters learn from 'heldout' (boosters.dpo-2.data.prompts)",
            ),
            ({"sft": {"settings": {"beta": 0.5}}}, "boosters.sft.settings.beta: there is no such key (found 0.5)"),
            ({"dpo-1": {"settings": {"beta": 0.0}}}, "boosters.dpo-1.settings.beta: Input should be greater than 0"),
            ({"evolution": {"trainer": "sft"}}, "boosters.evolution: results/ holds something else of that name"),
            ({"boosters": {"trainer": "sft"}}, "boosters.boosters: results/ holds something else of that name"),
        ],
    )
    def test_what_cannot_be_trained_is_named(self, boosters: dict[str, Any], told: str) -> None:
        assert f"\n  {told}" in message(changed("boosters", boosters))


WITHOUT_DPO_2 = {
    "refiners": {name: entry for name, entry in RAW["refiners"].items() if name != "dpo-2"},
    "evaluation": RAW["evaluation"] | {"refiners": ["original", "llm", "sft", "dpo-1"]},
}


@pytest.mark.parametrize(
    ("section", "name"),
    [
        ("generators", "shared"),
        ("generators", "tables"),
        ("judges", "rewards"),
        ("judges", "vbench"),
        ("judges", "videos"),
    ],
)
def test_names_of_other_folders_are_refused(section: str, name: str) -> None:
    text = message(changed(f"{section}/{name}", next(iter(RAW[section].values()))))
    assert f"\n  {section}.{name}: results/ holds something else of that name; take another" in text


def test_a_refiner_names_a_booster_that_there_is() -> None:
    assert check(changed("refiners/sft/booster", "mini-t2v/sft"), ROOT)
    text = message(changed("refiners/sft/booster", "b/sft"))
    assert "\n  refiners.sft.booster: there is no track 'b'; known are mini-t2v" in text


class TestLayers:
    """Settings over settings."""

    def test_a_mapping_is_laid_over_a_mapping_and_a_list_replaces_a_list(self) -> None:
        settings, origins = lay({"a.yaml": {"a": {"b": 1, "c": [1]}}, "b.yaml": {"a": {"c": [2]}, "d": {}}})
        assert settings == {"a": {"b": 1, "c": [2]}, "d": {}}
        assert (origins["a.b"], origins["a.c"], origins["d"]) == ("a.yaml", "b.yaml", "b.yaml")

    def test_an_entry_of_another_kind_replaces_the_one_below_whole(self) -> None:
        below = {"models": {"big": {"kind": "hub", "repo_id": "x/y", "revision": "unpinned"}}}
        settings, origins = lay({"a": below, "b": {"models": {"big": {"kind": "local", "path": "/disk"}}}})
        assert settings["models"]["big"] == {"kind": "local", "path": "/disk"}
        assert "models.big.repo_id" not in origins and origins["models.big.path"] == "b"
        settings, _ = lay({"a": below, "b": {"models": {"big": {"kind": "hub", "revision": "v1"}}}})
        assert settings["models"]["big"] == {"kind": "hub", "repo_id": "x/y", "revision": "v1"}
        settings, _ = lay({"a": below, "b": {"models": {"big": {"revision": "v1"}}}})
        assert settings["models"]["big"]["repo_id"] == "x/y"

    def test_what_a_layer_holds_is_not_changed(self) -> None:
        below = {"a": {"b": 1}}
        lay({"a": below, "b": {"a": {"b": 2}}})
        assert below == {"a": {"b": 1}}

    def test_a_key_that_is_null_is_taken_away_unless_null_is_a_value(self) -> None:
        raw = changed("generators/mini-t2v/sampling/clean_caption", None)
        raw["booster"]["sampling"]["top_k"] = None
        raw["evolution"]["min_gain"] = None
        config = check(raw, ROOT)
        entry = config.generators["mini-t2v"]
        assert isinstance(entry, DiffusersConfig)
        sampling = entry.sampling
        assert "clean_caption" not in sampling and sampling["height"] == 32
        assert config.booster.sampling.top_k == 50  # the default
        assert config.evolution.min_gain is None
        assert "evolution.prompts: is missing" in message(changed("evolution/prompts", None))

    def test_a_message_names_the_file_that_a_key_comes_from(self) -> None:
        mine = {"generators": {"mini-t2v": {"sampling": {"heigth": 3}}}, "evolution": {"operator": "nobody"}}
        raw, origins = lay({"config.yaml": RAW, "mine.yaml": mine | {"seed": "x"}})
        raw["booster"] = {key: value for key, value in raw["booster"].items() if key != "base"}
        with pytest.raises(InputError) as caught:
            check(raw, ROOT, origins)
        assert "\n  seed (mine.yaml): " in str(caught.value)
        assert "\n  booster.base (config.yaml): is missing" in str(caught.value)
        raw, origins = lay({"config.yaml": RAW, "mine.yaml": mine})
        with pytest.raises(InputError, match=r"\n  evolution\.operator \(mine\.yaml\): there is no 'nobody'"):
            check(raw, ROOT, origins)
        del raw["evolution"]["operator"], mine["evolution"]
        raw, origins = lay({"config.yaml": RAW, "mine.yaml": mine})
        with pytest.raises(InputError, match=r"generators\.mini-t2v\.sampling(\.heigth)? \(mine\.yaml\): "):
            check(raw, ROOT, origins)

    def test_a_cluster_with_its_models_on_disk_names_them_and_renames_no_entry(self) -> None:
        names = [name for name, entry in PAPER["models"].items() if entry and entry["kind"] in ("hub", "url")]
        assert len(names) == 12
        on_disk = {name: {"kind": "local", "path": f"/models/{name}"} for name in names}
        raw, origins = lay({"config.yaml": RAW, "paper.yaml": PAPER, "mine.yaml": {"models": on_disk}})
        config = check(raw, ROOT, origins)
        assert {entry.kind for entry in config.models.values()} == {"local"}
        assert set(config.models) == set(names), "minilm-l6 of a package gives way"
