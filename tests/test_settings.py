"""Markers on keys, and entries that start from others."""

import copy
from typing import Annotated, Any

import pytest
import yaml
from makers import RAW, ROOT, changed, message
from pydantic import Field

from promptavideo.config import check, resolve
from promptavideo.errors import InputError
from promptavideo.settings import Added, Entry, File, Marked, Planning, Ref, Section, started_from

READY: dict[str, Any] = yaml.safe_load((ROOT / "resources/generators.yaml").read_text(encoding="utf-8"))


class Lora(Section):
    """A part of an entry."""

    model: Annotated[str, Ref("models")]
    scale: float = 1.0
    device: Annotated[str, Planning()] = "auto"


class Thing(Entry):
    """An entry with a key of each sort."""

    model: Annotated[str, Ref("models")]
    base: Annotated[str | None, Ref("models")] = None
    tracks: Annotated[list[str], Ref("generators")] = Field(default_factory=list)
    asked: Annotated[dict[str, str], Ref("operators")] = Field(default_factory=dict)
    template: Annotated[str, File()] = "a.txt"
    steps: int = 4
    seconds: Annotated[float, Planning()] = 1.0
    tiling: Annotated[bool, Added()] = False
    loras: Annotated[list[Lora], Added()] = Field(default_factory=list)
    lora: Lora | None = None
    named: dict[str, Lora] = Field(default_factory=dict)


class TestMarkers:
    """What keys mean beside their type."""

    def test_all_but_planning_decides(self) -> None:
        decides = Thing(model="m").decides()
        assert decides == {
            "model": "m", "base": None, "tracks": [], "asked": {}, "template": "a.txt", "steps": 4, "lora": None,
            "named": {},
        }  # fmt: skip
        assert Thing(model="m", seconds=9.0).decides() == decides
        assert Thing(model="m", steps=5).decides() != decides

    def test_a_key_that_was_added_counts_only_when_it_is_set(self) -> None:
        assert Thing(model="m", tiling=False, loras=[]).decides() == Thing(model="m").decides()
        assert Thing(model="m", tiling=True).decides() == Thing(model="m").decides() | {"tiling": True}

    def test_planning_keys_decide_nothing_at_any_depth(self) -> None:
        lora = Lora(model="x", device="cuda")
        decides = Thing(model="m", lora=lora, loras=[lora], named={"a": lora}).decides()
        told = {"model": "x", "scale": 1.0}
        assert (decides["lora"], decides["loras"], decides["named"]) == (told, [told], {"a": told})

    def test_names_and_files_are_found_with_their_keys_at_any_depth(self) -> None:
        thing = Thing(
            model="m", base="b", tracks=["t"], asked={"t": "o"}, loras=[Lora(model="x"), Lora(model="y")],
            lora=Lora(model="z"), named={"n": Lora(model="m")},
        )  # fmt: skip
        models = [(one.key, one.value) for one in thing.marked() if one.marker == Ref("models")]
        assert models == [
            ("model", "m"), ("base", "b"), ("loras.0.model", "x"), ("loras.1.model", "y"), ("lora.model", "z"),
            ("named.n.model", "m"),
        ]  # fmt: skip
        assert Marked("tracks", Ref("generators"), "t") in [*thing.marked()]
        assert Marked("asked.t", Ref("operators"), "o") in [*thing.marked()]
        assert thing.models == ["m", "b", "x", "y", "z"], "each once"
        assert thing.files == ["a.txt"]
        assert Thing(model="m").models == ["m"]

    def test_a_key_is_called_as_users_write_it(self) -> None:
        entry = check(RAW, ROOT).boosters["dpo-1"]
        assert Marked("from", Ref("boosters"), "sft") in [*entry.marked()]


class TestLike:
    """Entries that start from others."""

    def test_an_entry_starts_from_a_ready_one_whose_models_are_declared_with_it(self) -> None:
        mine = {"like": "wan-2.1-1.3b", "sampling": {"num_inference_steps": 30}}
        config = check(changed("generators/mine", mine), ROOT)
        ready = READY["generators"]["wan-2.1-1.3b"]
        entry = config.generators["mine"].decides()
        assert entry["sampling"] == ready["sampling"] | {"num_inference_steps": 30}
        assert entry["pipeline"] == ready["pipeline"]
        assert set(config.models) - set(RAW["models"]) == set(config.generators["mine"].models) != set()

    @pytest.mark.parametrize("name", READY["generators"])
    def test_every_ready_entry_can_be_started_from(self, name: str) -> None:
        raw = resolve(changed("generators/mine", {"like": name}), ROOT)
        assert raw["generators"]["mine"] == READY["generators"][name]
        used = {model for model in READY["models"] if model in yaml.safe_dump(READY["generators"][name])}
        assert set(raw["models"]) - set(RAW["models"]) <= used

    def test_a_model_that_is_declared_already_stays(self) -> None:
        raw = changed("generators/mine", {"like": "wan-2.1-1.3b"})
        raw["models"] = {**RAW["models"], "wan-2.1-1.3b": {"kind": "local", "path": "/disk/wan"}}
        assert check(raw, ROOT).models["wan-2.1-1.3b"].decides()["path"] == "/disk/wan"

    def test_an_entry_starts_from_another_of_its_section_and_that_from_another(self) -> None:
        raw = changed("generators/slow", {"like": "mini-t2v", "seconds_per_video": 9.0})
        raw["generators"]["slower"] = {"like": "slow", "sampling": {"num_inference_steps": 50}}
        generators = check(raw, ROOT).generators
        assert [generators[name].seconds_per_video for name in ("mini-t2v", "slow", "slower")] == [0.074, 9.0, 9.0]
        assert generators["slower"].decides()["sampling"]["num_inference_steps"] == 50
        assert generators["slow"].decides() == generators["mini-t2v"].decides()

    def test_an_entry_may_have_the_name_of_the_ready_one_that_it_starts_from(self) -> None:
        raw = resolve(changed("generators/sdxl", {"like": "sdxl", "device": "cpu"}), ROOT)
        assert raw["generators"]["sdxl"] == READY["generators"]["sdxl"] | {"device": "cpu"}
        assert raw["models"]["sdxl"] == READY["models"]["sdxl"]

    def test_a_null_takes_a_key_of_the_other_one_away(self) -> None:
        raw = changed("generators/mine", {"like": "mini-t2v", "sampling": {"clean_caption": None}})
        assert "clean_caption" not in check(raw, ROOT).generators["mine"].decides()["sampling"]

    def test_any_section_of_entries_has_it(self) -> None:
        raw = changed("refiners/twice", {"like": "llm", "attempts": 2})
        assert check(raw, ROOT).refiners["twice"].decides()["attempts"] == 2
        raw = changed("judges/more", {"like": "fidelity", "metrics": ["KEEP"], "max_tokens": 32})
        raw["judges"]["fidelity"] = RAW["judges"]["fidelity"] | {"metrics": ["SENSE"]}
        assert check(raw, ROOT).judges["more"].decides()["max_tokens"] == 32

    def test_an_entry_of_another_kind_takes_nothing_over(self) -> None:
        raw = changed("models/mine", {"like": "mini-t2v", "kind": "local", "path": "/disk"})
        assert check(raw, ROOT).models["mine"].decides()["path"] == "/disk"

    @pytest.mark.parametrize(
        ("entry", "told"),
        [
            ({"like": "wan-9"}, "generators.mine.like: there is no 'wan-9'; known are "),
            ({"like": "mine"}, "generators.mine.like: 'mine' is no other entry to start from"),
            ({"like": 3}, "generators.mine.like: 3 is no other entry to start from"),
            ({"like": ["mini-t2v"]}, "generators.mine.like: ['mini-t2v'] is no other entry to start from"),
            ({"like": "mini-t2v", "frames": 3}, "generators.mine.frames: there is no such key"),
        ],
    )
    def test_what_cannot_be_started_from_is_named(self, entry: dict[str, Any], told: str) -> None:
        said = message(changed("generators/mine", entry))
        assert told in said
        if "wan-9" in told:
            assert ", mini-t2v, " in said and "wan-2.1-1.3b" in said and " mine" not in said.split("known are")[1]

    def test_a_circle_is_named(self) -> None:
        raw = changed("generators/a", {"like": "b"})
        raw["generators"] |= {"b": {"like": "c"}, "c": {"like": "a"}}
        with pytest.raises(InputError, match=r"generators\.[abc]\.like: '[abc]' is no other entry to start from"):
            check(raw, ROOT)

    def test_what_was_given_is_not_changed(self) -> None:
        raw = changed("generators/mine", {"like": "wan-2.1-1.3b", "fps": 9})
        before, ready = copy.deepcopy(raw), copy.deepcopy(READY)
        started_from(raw, ["generators", "nothing"], READY)
        assert raw == before and ready == READY

    def test_a_set_of_that_name_is_no_entry_to_start_from(self) -> None:
        sets = RAW["evaluation"]["sets"] | {"like": {"prompts": "heldout"}}
        assert "like" in check(changed("evaluation/sets", sets), ROOT).evaluation.sets
