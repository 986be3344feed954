"""Pipelines other than the miniature, loaded by configuration alone, and what can be set on them."""

import itertools
import re
from collections.abc import Callable
from functools import partial
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from makers import LTX
from makers import diffusers_config as configure
from pydantic import ValidationError
from tiny_pipelines import (
    COGVIDEOX_SAMPLING,
    HUNYUAN_SAMPLING,
    LTX_DISTILLED_SAMPLING,
    LTX_SAMPLING,
    WAN_SAMPLING,
    tiny_cogvideox,
    tiny_hunyuan,
    tiny_lora,
    tiny_ltx,
    tiny_ltx_condition,
    tiny_wan,
)

from promptavideo.errors import InputError
from promptavideo.generators import diffusers as module
from promptavideo.generators import reader as reading
from promptavideo.generators.diffusers import DiffusersGenerator
from promptavideo.generators.diffusers_config import FRAME_RULES, DiffusersConfig, check_pipeline
from promptavideo.models import LocalModel, fetch
from promptavideo.shots import Shot
from promptavideo.video import Clip

LTX_DISTILLED = {"pipeline": "LTXConditionPipeline", "sampling": LTX_DISTILLED_SAMPLING}
WAN = {"pipeline": "WanPipeline", "sampling": WAN_SAMPLING}
COGVIDEOX = {"pipeline": "CogVideoXPipeline", "sampling": COGVIDEOX_SAMPLING}
HUNYUAN = {"pipeline": "HunyuanVideo15Pipeline", "sampling": HUNYUAN_SAMPLING, "vae_slicing": True}


@pytest.fixture(scope="module")
def ltx(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fetched(tiny_ltx, tmp_path_factory.mktemp("ltx"))


@pytest.fixture(scope="module")
def wan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fetched(tiny_wan, tmp_path_factory.mktemp("wan"))


@pytest.fixture(scope="module")
def cogvideox(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fetched(tiny_cogvideox, tmp_path_factory.mktemp("cogvideox"))


@pytest.fixture(scope="module")
def ltx_distilled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fetched(tiny_ltx_condition, tmp_path_factory.mktemp("ltx_distilled"))


@pytest.fixture(scope="module")
def hunyuan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fetched(tiny_hunyuan, tmp_path_factory.mktemp("hunyuan"))


def fetched(make: Callable[[Path], Path], folder: Path) -> Path:
    fetch("tiny", LocalModel(kind="local", path=str(make(folder / "source"))), folder / "tiny", {})
    return folder / "tiny"


def equal(one: Clip, two: Clip) -> bool:
    return np.array_equal(one.frames, two.frames)


class TestPipelines:
    def test_a_size_that_the_pipeline_rounds_is_refused(self, wan: Path) -> None:
        config = configure(**WAN | {"sampling": {**WAN_SAMPLING, "num_frames": 6}})
        with pytest.raises(InputError, match=r"gave videos of 5 where sampling\.num_frames is 6"):
            DiffusersGenerator(config, wan).film([Shot("a", None, 1), Shot("b", None, 2)])

    @pytest.mark.parametrize(
        ("name", "entry", "frames"),
        [("ltx", LTX, 9), ("ltx_distilled", LTX_DISTILLED, 9), ("wan", WAN, 5), ("hunyuan", HUNYUAN, 5)],
    )
    def test_films_by_configuration_alone(
        self, request: pytest.FixtureRequest, name: str, entry: dict[str, Any], frames: int
    ) -> None:
        config = configure(**entry)
        check_pipeline("tiny", config)
        generator = DiffusersGenerator(config, request.getfixturevalue(name))
        one, two = generator.film([Shot("a red ball", None, 1), Shot("a blue box moves left", None, 2)])
        assert (one.frames.shape, one.fps) == ((frames, 32, 32, 3), 8.0)
        assert one.frames.std() > 1
        assert not equal(one, two)
        assert equal(two, generator.film([Shot("a blue box moves left", None, 2)])[0])
        assert not equal(two, generator.film([Shot("a blue box moves left", None, 3)])[0])
        assert not equal(two, generator.film([Shot("a red ball", None, 2)])[0])

    @pytest.mark.parametrize(
        ("name", "entry", "limit"),
        [
            ("cogvideox", COGVIDEOX, 226),
            ("ltx", LTX, 128),
            ("ltx_distilled", LTX_DISTILLED, 256),
            ("wan", WAN, 512),
            ("hunyuan", HUNYUAN, 995),
        ],
    )
    def test_as_many_tokens_are_counted_as_the_encoder_reads(
        self,
        request: pytest.FixtureRequest,
        monkeypatch: pytest.MonkeyPatch,
        name: str,
        entry: dict[str, Any],
        limit: int,
    ) -> None:
        """By what the pipeline asks of its tokenizer; HunyuanVideo 1.5 puts 108 tokens before a text."""
        folder, around = request.getfixturevalue(name), 113 if name == "hunyuan" else 0
        settings = {key: value for key, value in entry["sampling"].items() if key != "max_sequence_length"}
        for own in ({}, {"max_sequence_length": 8}) if name != "hunyuan" else ({},):
            generator = DiffusersGenerator(configure(**{**entry, "sampling": {**settings, **own}}), folder)
            assert generator.reads_tokens == own.get("max_sequence_length", limit)
            asked: list[int] = []
            tokenizer = type(generator._pipeline.tokenizer)
            call = tokenizer.__call__

            def spy(self: Any, *texts: Any, call: Any = call, asked: list[int] = asked, **options: Any) -> Any:
                asked += [options["max_length"]] if options.get("truncation") else []
                return call(self, *texts, **options)

            monkeypatch.setattr(tokenizer, "__call__", spy)
            generator.film([Shot("a red ball", None, 1)])
            monkeypatch.setattr(tokenizer, "__call__", call)
            assert set(asked) == {generator.reads_tokens + around}
            words = 1
            while len(generator._pipeline.tokenizer("ball " * (words + 1))["input_ids"]) <= generator.reads_tokens:
                words += 1
            counts = generator.count_tokens(["ball " * words, "ball " * (words + 1), "", "ball"])
            assert [generator.cuts(count) for count in counts] == [False, True, False, False]
        assert generator.count_tokens([]) == []

    @pytest.mark.parametrize(("name", "entry"), [("ltx", LTX), ("wan", WAN), ("hunyuan", HUNYUAN)])
    def test_each_video_of_a_call_has_its_own_negative_prompt(
        self, request: pytest.FixtureRequest, name: str, entry: dict[str, Any]
    ) -> None:
        folder = request.getfixturevalue(name)
        own, other = (
            DiffusersGenerator(configure(**entry, negative_prompt=text), folder) for text in ("blue", "green")
        )
        assert own.takes_negative
        shots = [Shot("a red ball", negative, 1) for negative in (None, "green")]
        plain, green = own.film(shots)
        assert not equal(plain, green)
        assert equal(plain, own.film(shots[:1])[0]) and equal(plain, own.film([Shot("a red ball", "blue", 1)])[0])
        assert equal(green, own.film(shots[1:])[0]) and equal(green, other.film(shots[:1])[0])

    def test_components_have_the_types_they_were_given(self, wan: Path) -> None:
        config = configure(**WAN, dtype="bfloat16", component_dtypes={"vae": "float32"})
        pipeline = DiffusersGenerator(config, wan)._pipeline
        found = {name: getattr(pipeline, name).dtype for name in ("vae", "transformer", "text_encoder")}
        assert found == {"vae": torch.float32, "transformer": torch.bfloat16, "text_encoder": torch.bfloat16}

    def test_the_scheduler_takes_over_the_settings_of_the_models_own(self, wan: Path) -> None:
        plain = DiffusersGenerator(configure(**WAN), wan)
        assert plain._pipeline.scheduler.config.flow_shift == 3.0
        scheduler = {"name": "UniPCMultistepScheduler", "settings": {"flow_shift": 5.0}}
        shifted = DiffusersGenerator(configure(**WAN, scheduler=scheduler), wan)
        assert shifted._pipeline.scheduler.config.flow_shift == 5.0
        assert shifted._pipeline.scheduler.config.prediction_type == "flow_prediction"
        assert not equal(plain.film([Shot("a red ball", None, 1)])[0], shifted.film([Shot("a red ball", None, 1)])[0])

    def test_another_scheduler_class(self, wan: Path) -> None:
        scheduler = {"name": "FlowMatchEulerDiscreteScheduler", "settings": {"shift": 3.0}}
        generator = DiffusersGenerator(configure(**WAN, scheduler=scheduler), wan)
        assert type(generator._pipeline.scheduler).__name__ == "FlowMatchEulerDiscreteScheduler"
        assert generator.film([Shot("a red ball", None, 1)])[0].frames.std() > 1

    def test_the_vae_decodes_in_tiles_and_slices(self, wan: Path) -> None:
        vae = DiffusersGenerator(configure(**WAN, vae_tiling=True, vae_slicing=True), wan)._pipeline.vae
        assert vae.use_tiling and vae.use_slicing

    def test_what_a_component_cannot_do_is_named(self, miniature: Path) -> None:
        compile_ = {"mode": "default", "regional": True}
        sampling = {"height": 32, "width": 32}
        with pytest.raises(InputError, match=r"LattePipeline: compile.regional is not possible"):
            DiffusersGenerator(configure(pipeline="LattePipeline", sampling=sampling, compile=compile_), miniature)


class TestAcceleration:
    @pytest.mark.parametrize(
        "cache",
        [
            {"name": "PyramidAttentionBroadcast", "settings": {"spatial_attention_block_skip_range": 2,
                                                               "spatial_attention_timestep_skip_range": [-1, 1001]}},
            {"name": "FirstBlockCache", "settings": {"threshold": 9.0}},
        ],
    )  # fmt: skip
    def test_a_cache_hook_changes_the_video_and_is_forgotten_between_calls(
        self, ltx: Path, cache: dict[str, Any]
    ) -> None:
        entry = {**LTX, "sampling": {**LTX_SAMPLING, "num_inference_steps": 4}, "batch_size": 1}
        check_pipeline("tiny", configure(**entry, cache=cache))
        hooked = DiffusersGenerator(configure(**entry, cache=cache), ltx)
        clip = hooked.film([Shot("a red ball", None, 1)])[0]
        assert not equal(clip, DiffusersGenerator(configure(**entry), ltx).film([Shot("a red ball", None, 1)])[0])
        hooked.film([Shot("a blue box moves left", None, 2)])
        assert equal(clip, hooked.film([Shot("a red ball", None, 1)])[0])

    @pytest.mark.parametrize("regional", [False, True])
    def test_the_denoiser_is_to_be_compiled(self, ltx: Path, regional: bool) -> None:
        config = configure(**LTX, compile={"mode": "reduce-overhead", "regional": regional})
        transformer = DiffusersGenerator(config, ltx)._pipeline.transformer
        compiled = {type(part).__name__ for part in transformer.modules() if part._compiled_call_impl is not None}
        assert compiled == {"LTXVideoTransformerBlock" if regional else "LTXVideoTransformer3DModel"}

    def test_first_block_cache_would_tie_videos_together(self) -> None:
        with pytest.raises(ValidationError, match="FirstBlockCache decides for all videos of a call together"):
            configure(**LTX, cache={"name": "FirstBlockCache"})

    def test_settings_that_a_cache_hook_refuses_are_named(self, ltx: Path) -> None:
        config = configure(**LTX, cache={"name": "MagCache", "settings": {"threshold": 0.1}})
        with pytest.raises(InputError, match=r"cache.settings: MagCacheConfig cannot be made of these .*mag_ratios"):
            DiffusersGenerator(config, ltx)

    def test_quantisation_needs_torchao(self, ltx: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: None)
        with pytest.raises(InputError, match="quantisation needs torchao, which is not installed"):
            DiffusersGenerator(configure(**LTX, quantisation={"scheme": "int8"}), ltx)

    def test_quantisation_needs_a_gpu(self, ltx: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: ModuleSpec(name, None))
        with pytest.raises(InputError, match="quantisation needs a GPU"):
            DiffusersGenerator(configure(**LTX, quantisation={"scheme": "int8"}), ltx)


class TestKey:
    def test_changes_with_every_setting_that_can_change_pixels(self, ltx: Path) -> None:
        def key(**fields: Any) -> str:
            generator = DiffusersGenerator.__new__(DiffusersGenerator)
            generator.config, generator._model = configure(**LTX, **fields), "digest"
            return generator.key(Shot("a red ball", None, 1))

        keys = [
            key(),
            key(component_dtypes={"vae": "bfloat16"}),
            key(scheduler={"name": "UniPCMultistepScheduler"}),
            key(scheduler={"name": "UniPCMultistepScheduler", "settings": {"flow_shift": 5.0}}),
            key(vae_tiling=True),
            key(vae_slicing=True),
            key(compile={}),
            key(compile={"mode": "max-autotune"}),
            key(compile={"regional": True}),
            key(quantisation={"scheme": "int8"}),
            key(quantisation={"scheme": "float8-dynamic"}),
            key(quantisation={"scheme": "int8", "components": ["transformer", "text_encoder"]}),
            key(cache={"name": "FasterCache"}),
            key(cache={"name": "FasterCache", "settings": {"unconditional_batch_skip_range": 4}}),
            key(cache={"name": "TaylorSeerCache"}),
        ]
        assert len(set(keys)) == len(keys)
        assert {key(offload="sequential"), key(device="auto"), key(max_frames=99), key(vae_tiling=False)} == {key()}

    def test_of_videos_filmed_before_these_settings_existed_is_kept(self) -> None:
        generator = DiffusersGenerator.__new__(DiffusersGenerator)
        generator.config, generator._model = configure(**LTX), "digest"
        assert generator.identity() == {
            "model": "digest",
            "kind": "diffusers",
            "pipeline": "LTXPipeline",
            "dtype": "float32",
            "threads": 1,
            "batch_size": 2,
            "fps": 8.0,
            "negative_prompt": "",
            "sampling": LTX_SAMPLING,
            "crf": 12,
            "pixel_format": "yuv420p",
        }


class TestLoras:
    @pytest.fixture(scope="class")
    def lora(self, wan: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
        return fetched(lambda folder: tiny_lora(folder, wan), tmp_path_factory.mktemp("lora"))

    @staticmethod
    def adapted(folder: Path, *loras: tuple[Path, float], **fields: Any) -> DiffusersGenerator:
        entries = [{"model": f"lora-{place}", "weight": weight} for place, (_, weight) in enumerate(loras)]
        config = configure(**WAN, loras=entries, **fields)
        assert config.models == ["tiny", *(f"lora-{place}" for place in range(len(loras)))]
        return DiffusersGenerator(config, folder, *(path for path, _ in loras))

    def test_it_changes_videos_by_its_weight(self, wan: Path, lora: Path) -> None:
        plain = DiffusersGenerator(configure(**WAN), wan)
        clips = {}
        for weight in (0.0, 0.5, 1.0):
            clips[weight] = (generator := self.adapted(wan, (lora, weight))).film([Shot("a", None, 1)])[0]
            assert generator.key(Shot("a", None, 1)) != plain.key(Shot("a", None, 1))
        assert equal(clips[0.0], plain.film([Shot("a", None, 1)])[0])
        assert not equal(clips[1.0], clips[0.0]) and not equal(clips[1.0], clips[0.5])

    def test_its_alpha_counts(self, wan: Path, tmp_path: Path) -> None:
        """Published beside the weights, where the state dict says nothing of it."""
        clips = []
        for alpha, weight in ((2, 1.0), (8, 0.25), (8, 1.0)):
            lora = fetched(partial(tiny_lora, pipeline=wan, alpha=alpha), tmp_path / f"{alpha}-{weight}")
            clips.append(self.adapted(wan, (lora, weight)).film([Shot("a", None, 1)])[0])
        assert np.abs(clips[0].frames.astype(int) - clips[1].frames).max() <= 1
        assert np.abs(clips[0].frames.astype(int) - clips[2].frames).max() > 1

    @pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
    def test_lightnings_form_is_read(self, wan: Path, tmp_path: Path, dtype: str) -> None:
        """Keys of Wan's own code, weights in float32, and an alpha for each layer."""
        from safetensors.torch import load_file, save_file

        layers = {"to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "o", "net.0.proj": "0", "net.2": "2"}
        parts = {"attn1": "self_attn", "attn2": "cross_attn", "ffn": "ffn"}

        def published(folder: Path) -> Path:
            (file,) = plain.rglob("*.safetensors")
            weights = {}
            for key, value in load_file(file).items():
                place, part, layer, side = re.fullmatch(  # type: ignore[union-attr]
                    r"transformer\.blocks\.(\d+)\.(\w+)\.(.+)\.lora_([AB])\.weight", key
                ).groups()
                name = f"diffusion_model.blocks.{place}.{parts[part]}.{layers[layer]}"
                weights[f"{name}.{'lora_down' if side == 'A' else 'lora_up'}.weight"] = value.float()
                weights[f"{name}.alpha"] = torch.tensor(8.0)
            folder.mkdir(parents=True)
            save_file(weights, folder / "high_noise_model.safetensors")
            return folder

        plain = fetched(partial(tiny_lora, pipeline=wan, layers=tuple(layers)), tmp_path / "plain")
        lightning = fetched(published, tmp_path / "published")
        ours, theirs = (
            self.adapted(wan, (lora, weight), dtype=dtype).film([Shot("a", None, 1)])[0]
            for lora, weight in ((plain, 1.0), (lightning, 2 / 8))  # a rank of 2
        )
        assert np.abs(ours.frames.astype(int) - theirs.frames).max() <= (1 if dtype == "float32" else 12)

    def test_each_transformer_of_two_has_its_own(self, tmp_path: Path) -> None:
        two = fetched(lambda folder: tiny_wan(folder, transformers=2), tmp_path / "two")
        lora = fetched(lambda folder: tiny_lora(folder, two), tmp_path / "lora")
        clips = []
        for components in ((), ("transformer",), ("transformer_2",), ("transformer", "transformer_2")):
            config = configure(**WAN, loras=[{"model": "lora", "component": name} for name in components])
            check_pipeline("tiny", config)
            generator = DiffusersGenerator(config, two, *[lora for _ in components])
            found = {name: getattr(generator._pipeline, name) for name in ("transformer", "transformer_2")}
            assert tuple(name for name, part in found.items() if hasattr(part, "peft_config")) == components
            clips.append(generator.film([Shot("a", None, 1)])[0])
        assert not any(equal(one, two) for one, two in itertools.combinations(clips, 2))

    def test_a_second_transformer_that_a_model_has_not_is_an_error(self, wan: Path, lora: Path) -> None:
        config = configure(**WAN, loras=[{"model": "lora", "component": "transformer_2"}])
        with pytest.raises(InputError, match="WanPipeline: this one has no transformer_2 that takes adapters"):
            DiffusersGenerator(config, wan, lora)

    def test_several_add_up(self, wan: Path, lora: Path) -> None:
        twice = self.adapted(wan, (lora, 0.5), (lora, 0.5)).film([Shot("a", None, 1)])[0]
        once = self.adapted(wan, (lora, 1.0)).film([Shot("a", None, 1)])[0]
        assert np.abs(twice.frames.astype(int) - once.frames).max() <= 1

    def test_its_files_are_part_of_the_key(self, wan: Path, lora: Path, tmp_path: Path) -> None:
        other = fetched(lambda folder: tiny_lora(folder, wan, ("to_k",)), tmp_path)
        assert self.adapted(wan, (lora, 1.0)).key(Shot("a", None, 1)) != self.adapted(wan, (other, 1.0)).key(
            Shot("a", None, 1)
        )

    def test_one_of_another_model_is_refused(self, wan: Path, ltx: Path, tmp_path: Path) -> None:
        other = fetched(lambda folder: tiny_lora(folder, ltx), tmp_path)
        with pytest.raises(InputError, match="adapter"):
            self.adapted(wan, (other, 1.0))

    def test_one_that_fits_in_part_is_refused(self, wan: Path, lora: Path, tmp_path: Path) -> None:
        from safetensors.torch import load_file, save_file

        def more(folder: Path) -> Path:
            (file,) = lora.rglob("*.safetensors")
            weights = load_file(file)
            extra = {key.replace("blocks.0", "blocks.77"): value.clone() for key, value in weights.items()}
            folder.mkdir()
            save_file(weights | extra, folder / "model.safetensors")
            return folder

        with pytest.raises(InputError, match=r"of the \d+ layers that this adapter changes are in"):
            self.adapted(wan, (fetched(more, tmp_path), 1.0))

    def test_a_component_that_is_not_there_is_refused_before_the_run(self) -> None:
        with pytest.raises(InputError, match=r"loras\.0\.component\.transformer_3: WanPipeline takes no such setting"):
            check_pipeline("generators.mine", configure(**WAN, loras=[{"model": "x", "component": "transformer_3"}]))


class TestCheck:
    @pytest.mark.parametrize(
        ("fields", "words"),
        [
            ({"component_dtypes": {"vea": "float32"}}, "component_dtypes.vea: LTXPipeline takes no such setting"),
            ({"scheduler": {"name": "NoScheduler"}}, "scheduler.name: diffusers [0-9.]+ has no class NoScheduler"),
            (
                {"scheduler": {"name": "CogVideoXDDIMScheduler", "settings": {"flow_shift": 3.0}}},
                "scheduler.settings.flow_shift: CogVideoXDDIMScheduler takes no such setting; .*timestep_spacing",
            ),
            (
                {"cache": {"name": "FasterCache", "settings": {"attention_weight_callback": "x"}}},
                "cache.settings.attention_weight_callback: FasterCacheConfig takes no such setting",
            ),
            (
                {"quantisation": {"scheme": "int8", "components": ["unet"]}},
                "quantisation.components.unet: LTXPipeline takes no such setting; known: .*transformer",
            ),
        ],
    )  # fmt: skip
    def test_settings_are_checked_against_the_source(self, fields: dict[str, Any], words: str) -> None:
        with pytest.raises(InputError, match=rf"generators\.mine\.{words}"):
            check_pipeline("generators.mine", configure(**LTX, **fields))

    @pytest.mark.parametrize(
        ("pipeline", "words"),
        [
            ("WanImageToVideoPipeline", "needs image, which no configuration gives"),
            ("WanAnimatePipeline", "needs image, pose_video, face_video, which no"),
            ("LTXImageToVideoPipeline", "needs image, which no"),  # None by its signature, and then an error
            ("CogVideoXVideoToVideoPipeline", "needs video, which no"),
            ("StableDiffusionPipeline", "gives images, nsfw_content_detected and no video"),
            ("AudioLDM2Pipeline", "gives audios and no video"),
        ],
    )
    def test_a_pipeline_that_makes_no_videos_of_texts_is_refused(self, pipeline: str, words: str) -> None:
        with pytest.raises(InputError, match=rf"generators\.mine\.pipeline: {pipeline} {words}"):
            check_pipeline("generators.mine", configure(pipeline=pipeline))

    @pytest.mark.parametrize(
        ("fields", "words"),
        [
            ({"sampling": {"num_inference_steps": 5.5}}, r"sampling.num_inference_steps: \w+ takes int and no float"),
            ({"sampling": {"num_inference_steps": True}}, r"sampling.num_inference_steps: \w+ takes int and no bool"),
            ({"sampling": {"guidance_scale": "high"}}, r"sampling.guidance_scale: \w+ takes float and no str"),
            ({"sampling": {"guidance_scale": [3, 4]}}, "sampling.guidance_scale: LTXPipeline takes float and no list"),
            ({"sampling": {"timesteps": 4}}, r"sampling.timesteps: LTXPipeline takes list\[int\] and no int"),
            ({"sampling": {"timesteps": ["all"]}}, r"sampling.timesteps: LTXPipeline takes list\[int\] and no list"),
            ({"sampling": {"prompt_embeds": 1.0}}, r"sampling.prompt_embeds: \w+ takes torch.Tensor and no float"),
            (
                {"scheduler": {"name": "FlowMatchEulerDiscreteScheduler", "settings": {"shift": "low"}}},
                "scheduler.settings.shift: FlowMatchEulerDiscreteScheduler takes float and no str",
            ),
            (
                {"cache": {"name": "FirstBlockCache", "settings": {"threshold": "low"}}, "batch_size": 1},
                "cache.settings.threshold: FirstBlockCacheConfig takes float and no str",
            ),
        ],
    )  # fmt: skip
    def test_values_of_another_type_are_refused(self, fields: dict[str, Any], words: str) -> None:
        with pytest.raises(InputError, match=rf"generators\.mine\.{words}"):
            check_pipeline("generators.mine", configure(**LTX | fields))

    def test_values_of_the_annotated_types_are_taken(self) -> None:
        sampling = {"guidance_scale": 3, "timesteps": [999, 499.5], "num_frames": 9, "decode_timestep": [0.05]}
        check_pipeline("generators.mine", configure(pipeline="LTXPipeline", sampling=sampling))
        check_pipeline("generators.mine", configure(pipeline="LTXConditionPipeline", sampling={"num_frames": 9}))

    @pytest.mark.parametrize(
        ("pipeline", "good", "bad", "instead"),
        [
            ("CogVideoXPipeline", (33, 49), (32, 48, 57, 81), (25, 41, 49, 49)),
            ("WanPipeline", (1, 81), (80, 82), (77, 81)),
            ("HunyuanVideoPipeline", (129,), (128,), (125,)),
            ("LTXPipeline", (161,), (160, 164), (153, 161)),
            ("MochiPipeline", (85,), (84, 90), (79, 85)),
        ],
    )
    def test_numbers_of_frames(
        self, pipeline: str, good: tuple[int, ...], bad: tuple[int, ...], instead: tuple[int, ...]
    ) -> None:
        for frames in good:
            check_pipeline("generators.mine", configure(pipeline=pipeline, sampling={"num_frames": frames}))
        for frames, other in zip(bad, instead, strict=True):
            message = (
                rf"generators\.mine\.sampling\.num_frames: {pipeline} cannot film {frames} frames.*; {other} would do"
            )
            with pytest.raises(InputError, match=message):
                check_pipeline("generators.mine", configure(pipeline=pipeline, sampling={"num_frames": frames}))

    def test_every_rule_is_of_a_pipeline_that_takes_a_number_of_frames(self) -> None:
        for pipeline in FRAME_RULES:
            check_pipeline("generators.mine", configure(pipeline=pipeline, sampling={"num_frames": 25}))

    def test_a_checkpoint_trained_on_more_frames_may_film_them(self) -> None:
        check_pipeline(
            "generators.mine", configure(pipeline="CogVideoXPipeline", sampling={"num_frames": 81}, max_frames=81)
        )
        with pytest.raises(InputError, match="81 would do"):
            check_pipeline(
                "generators.mine", configure(pipeline="CogVideoXPipeline", sampling={"num_frames": 89}, max_frames=81)
            )

    def test_code_that_comes_with_a_model_is_never_run(self, ltx: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        import diffusers

        given: dict[str, Any] = {}
        load = diffusers.DiffusionPipeline.from_pretrained

        def spy(folder: Path, **options: Any) -> Any:
            given.update(options)
            return load(folder, **options)

        monkeypatch.setattr(diffusers.DiffusionPipeline, "from_pretrained", spy)
        DiffusersGenerator(configure(**LTX), ltx)
        assert given["trust_remote_code"] is False and given["use_safetensors"] is True and given["local_files_only"]

    def test_pickled_weights_are_refused(self, ltx: Path, tmp_path: Path) -> None:
        (tmp_path / "ltx").mkdir()
        for path in ltx.rglob("*"):
            target = tmp_path / "ltx" / path.relative_to(ltx)
            if path.is_dir():
                target.mkdir(exist_ok=True)
            elif path.relative_to(ltx) != Path("vae/diffusion_pytorch_model.safetensors"):
                target.write_bytes(path.read_bytes())
        torch.save({}, tmp_path / "ltx/vae/diffusion_pytorch_model.bin")
        (tmp_path / "ltx/manifest.json").unlink()
        with pytest.raises(InputError, match="pickled weights"):
            fetch("tiny", LocalModel(kind="local", path=str(tmp_path / "ltx")), tmp_path / "tiny", {})


def test_the_tokenizer_that_reads_most_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """CLIP's 77 where the call names no number, and nothing where a tokenizer knows no limit."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    def words(limit: int | None) -> Any:
        found = Tokenizer(models.WordLevel({"a": 0, "?": 1}, unk_token="?"))
        found.pre_tokenizer = pre_tokenizers.Whitespace()
        return PreTrainedTokenizerFast(tokenizer_object=found, **({"model_max_length": limit} if limit else {}))

    def reads(default: int | None, *limits: int | None, first: str = "T5Tokenizer") -> tuple[int, int] | None:
        """Which tokenizer reads, from 1, and how many tokens."""
        parts = [words(limit) for limit in limits]
        monkeypatch.setattr(reading, "_default", lambda pipeline: default)
        monkeypatch.setattr(reading, "reader_of", lambda backend, limit: (backend, limit))
        kinds = [first, *["T5Tokenizer"] * len(limits)]
        named = {f"tokenizer_{place}": (kinds[place - 1], part) for place, part in enumerate(parts, 1)}
        found: Any = reading.reader(configure(pipeline="SomePipeline"), named)
        return found and (1 + [part.backend_tokenizer for part in parts].index(found[0]), found[1])

    assert reads(None, 77) == (1, 77)
    assert reads(None, 77, 120) == (2, 120)
    assert reads(None, None, 77) == (2, 77)
    assert reads(256, None, 77) == (1, 256)
    assert reads(256, 77, None, first="CLIPTokenizer") == (2, 256)
    assert reads(256, 77, first="CLIPTokenizer") == (1, 77)
    assert reads(None, None) is reads(None) is None


class Crowded:
    """A machine whose GPU has room for a pipeline's weights, or its calls, only from one offload on."""

    def __init__(self, generator: DiffusersGenerator, monkeypatch: pytest.MonkeyPatch, enough: str) -> None:
        self.steps: list[str] = []
        generator._device = "cuda"
        pipeline, call = generator._pipeline, generator._call
        monkeypatch.setattr(pipeline, "to", lambda device: self.steps.append("none"))
        monkeypatch.setattr(pipeline, "enable_model_cpu_offload", lambda device: self.steps.append("model"))
        monkeypatch.setattr(pipeline, "enable_sequential_cpu_offload", lambda device: self.steps.append("sequential"))

        def crowded(shots: Any) -> Any:
            if generator._offload != enough:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return call(shots)

        monkeypatch.setattr(generator, "_call", crowded)


class TestMemory:
    @pytest.fixture
    def generator(self, ltx: Path) -> DiffusersGenerator:
        return DiffusersGenerator(configure(**LTX), ltx)

    @pytest.mark.parametrize("enough", ["model", "sequential"])
    def test_weights_are_offloaded_until_the_call_fits(
        self,
        generator: DiffusersGenerator,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
        enough: str,
    ) -> None:
        clip = generator.film([Shot("a red ball", None, 1)])[0]
        crowded = Crowded(generator, monkeypatch, enough)
        assert equal(clip, generator.film([Shot("a red ball", None, 1)])[0])
        assert crowded.steps == ["model", "sequential"][: len(crowded.steps)] and crowded.steps[-1] == enough
        assert f"going on with offload: {enough}" in caplog.text
        generator.film([Shot("a red ball", None, 2)])
        assert crowded.steps[-1] == enough  # and stays there
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda place: "GPU")
        assert generator.circumstances() == {"device": "GPU", "dtype": "float32", "offload": enough}

    def test_memory_that_never_suffices_is_an_error_that_says_what_to_do(
        self, generator: DiffusersGenerator, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        Crowded(generator, monkeypatch, "never")
        with pytest.raises(
            InputError, match=r"GPU memory ran out while it filmed, with offload: sequential.*"
        ) as caught:
            generator.film([Shot("a red ball", None, 1)])
        for way in ("batch_size below 2", "vae_tiling: true", "What is filmed is kept"):
            assert way in str(caught.value)

    def test_memory_that_a_library_of_the_gpu_lacks_is_named_too(
        self, generator: DiffusersGenerator, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def call(shots: Any) -> Any:
            raise RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`")

        monkeypatch.setattr(generator, "_call", call)
        with pytest.raises(InputError, match="memory ran out while it filmed"):
            generator.film([Shot("a red ball", None, 1)])

    def test_frames_that_are_not_numbers_are_refused(
        self, generator: DiffusersGenerator, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(generator, "_call", lambda shots: np.full((2, 9, 32, 32, 3), np.nan))
        with pytest.raises(InputError, match=r"not numbers in float32; .*vae: float32}. Text: 'a red ball'"):
            generator.film([Shot("a red ball", None, 1)])


def test_a_tokenizer_is_read_as_its_file_says_and_such_videos_have_keys_of_their_own(tmp_path: Path) -> None:
    """A pipeline whose T5 tokenizer was published with another normalizer than transformers gives that class."""
    from tiny_pipelines import LTX_SAMPLING, tiny_ltx
    from tokenizers import Tokenizer, normalizers

    made = {}
    for name in ("plain", "lower"):
        source = tiny_ltx(tmp_path / name / "source")
        if name == "lower":
            published = Tokenizer.from_file(str(source / "tokenizer/tokenizer.json"))
            published.normalizer = normalizers.Lowercase()
            published.save(str(source / "tokenizer/tokenizer.json"))
        fetch(name, LocalModel(kind="local", path=str(source)), tmp_path / name / "model", {})
        config = DiffusersConfig(
            kind="diffusers", pipeline="LTXPipeline", model=name, fps=8, seconds_per_video=1, dtype="float32",
            sampling=LTX_SAMPLING,
        )  # fmt: skip
        made[name] = DiffusersGenerator(config, tmp_path / name / "model")
    assert "tokenizers" not in made["plain"].identity()
    assert made["lower"].identity()["tokenizers"] == ["tokenizer"]
    (loud,), (quiet,) = (made["lower"].film([Shot(text, None, 1)]) for text in ("A RED BALL", "a red ball"))
    assert np.array_equal(loud.frames, quiet.frames)
    (loud,) = made["plain"].film([Shot("A RED BALL", None, 1)])
    assert not np.array_equal(loud.frames, quiet.frames)
