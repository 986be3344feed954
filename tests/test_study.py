"""A run before anything runs: its tracks, batches and boosters, and the jobs and files of each."""

import re
from typing import Any

import pytest
from makers import RAW, ROOT, changed

from promptavideo.batches import RULES, Draw, Originals, Pilot, Refine, Round
from promptavideo.comparisons import comparisons
from promptavideo.config import check
from promptavideo.errors import InputError
from promptavideo.layout import Layout
from promptavideo.shards import part, shard_names
from promptavideo.study import Study, pattern

MINI = RAW["generators"]["mini-t2v"]


def study(**sections: Any) -> Study:
    """The repository's configuration with some sections replaced."""
    return Study(check(changed("seed", 1) | sections, ROOT), ROOT)


@pytest.fixture(scope="module")
def two() -> Study:
    """Shards of 25 prompts, a second generator whose name holds dots, and a second set."""
    sets = RAW["evaluation"]["sets"] | {"held.out": {"prompts": "heldout"}}
    return study(
        shard_size=25,
        generators={"mini-t2v": MINI, "mini-t2v-1.5": MINI | {"seconds_per_video": 7.0}},
        evaluation=RAW["evaluation"] | {"sets": sets},
    )


def across(boosters: dict[str, Any], refiners: dict[str, Any], compared: dict[str, list[str]]) -> Study:
    """Two tracks, a and b, with boosters over the paper's chain, more refiners, and what each track compares."""
    evaluation = RAW["evaluation"] | {"refiners_of": {track: ["original", *names] for track, names in compared.items()}}
    added = {name: {"kind": "booster", "booster": booster} for name, booster in refiners.items()}
    return study(
        generators={"a": MINI, "b": MINI},
        boosters=boosters,
        refiners=RAW["refiners"] | added,
        evaluation=evaluation,
    )


def test_patterns_take_declared_names_only(two: Study) -> None:
    tracks = pattern(two.tracks)
    assert re.fullmatch(tracks, "mini-t2v") and re.fullmatch(tracks, "mini-t2v-1.5")
    assert not re.fullmatch(tracks, "mini-t2v-1x5")


class TestBatches:
    """What is filmed."""

    @pytest.mark.parametrize(
        ("name", "rule"),
        [
            ("evolution/round-0", "propose"),
            ("evolution/round-4", "propose"),
            ("dpo-1", "candidates"),
            ("dpo-2", "candidates"),
            ("evaluation/heldout/original", "refine"),
            ("evaluation/held.out/dpo-2", "refine"),
            ("pilot", "pilot_prompts"),
        ],
    )
    def test_have_names_and_a_rule_that_makes_their_prompts(self, two: Study, name: str, rule: str) -> None:
        batch = two.batch("mini-t2v", name)
        assert (batch.track, batch.name, batch.generator) == ("mini-t2v", name, "mini-t2v")
        assert RULES[type(batch.source)] == rule
        assert two.batch("mini-t2v", name) == batch and len({batch, two.batch("mini-t2v", name)}) == 1

    @pytest.mark.parametrize(
        "name",
        [
            "evolution/round-5",
            "evolution/round-04",
            "evolution",
            "sft",
            "dpo-3",
            "evaluation/heldxout/dpo-2",
            "evaluation/heldout/vpo",
            "evaluation/heldout",
            "",
        ],
    )
    def test_that_there_are_not_are_answered_with_those_that_there_are(self, two: Study, name: str) -> None:
        with pytest.raises(InputError) as caught:
            two.batch("mini-t2v", name)
        said = str(caught.value)
        assert said.startswith(f"mini-t2v has no batch {name!r}; known are evolution/round-0, ")
        known = (
            "evolution/round-4",
            "dpo-1",
            "dpo-2",
            "evaluation/heldout/original",
            "evaluation/held.out/dpo-2",
            "pilot",
        )
        assert all(f", {one}" in said for one in known)

    def test_of_a_track_that_there_is_not_are_answered_with_the_tracks(self, two: Study) -> None:
        with pytest.raises(InputError, match=r"there is no track 'sora'; known are mini-t2v, mini-t2v-1\.5"):
            two.batch("sora", "pilot")

    def test_stand_in_the_order_of_the_method(self, two: Study) -> None:
        names = [batch.name for batch in two.batches("mini-t2v")]
        assert names[:7] == [*(f"evolution/round-{number}" for number in range(5)), "dpo-1", "dpo-2"]
        assert names[7:9] == ["evaluation/heldout/original", "evaluation/heldout/llm"]
        assert names[-1] == "evaluation/held.out/dpo-2" and len(names) == 5 + 2 + 2 * 5

    def test_know_their_prompts_and_their_videos(self, two: Study) -> None:
        names = ("evolution/round-0", "evolution/round-3", "dpo-2", "evaluation/held.out/llm", "evaluation/heldout/llm")
        batches = [two.batch("mini-t2v", name) for name in names]
        assert [batch.prompts for batch in batches] == ["evolution", "evolution", "preference", "heldout", "heldout"]
        assert [batch.per_prompt for batch in batches] == [1, 3, 5, 1, 2]
        assert [two.prompts(batch) for batch in batches] == [60, 60, 60, 100, 100]
        pilot = two.pilot("mini-t2v")
        assert (pilot.prompts, pilot.per_prompt, two.prompts(pilot)) == ("evolution", 1, 8)

    def test_belong_to_a_part_of_the_method(self, two: Study) -> None:
        names = ("evolution/round-0", "evolution/round-3", "dpo-2", "evaluation/held.out/llm", "pilot")
        parts = [two.batch("mini-t2v", name).part for name in names]
        assert parts == ["evolution", "evolution", "dpo-2", "evaluation", "pilot"]

    def test_are_found_by_the_kind_of_their_source(self, two: Study) -> None:
        assert [(one.track, one.name) for one in two.every(Draw)] == [
            (track, name) for track in ("mini-t2v", "mini-t2v-1.5") for name in ("dpo-1", "dpo-2")
        ]
        assert len(two.every(Originals | Round)) == 2 * 5 and len(two.every(Pilot)) == 2

    def test_that_no_table_shows_are_made_when_they_are_asked_for(self) -> None:
        plain = study(evaluation=RAW["evaluation"] | {"refiners": ["original", "llm"]})
        shown = [batch.name for batch in plain.batches("mini-t2v")]
        assert shown == ["evaluation/heldout/original", "evaluation/heldout/llm"]
        asked = plain.batch("mini-t2v", "evaluation/heldout/dpo-2")
        assert isinstance(asked.source, Refine) and asked.source.refiner == "dpo-2"
        assert plain.batch("mini-t2v", "evolution/round-4")

    def test_of_a_round_come_after_the_rounds_before_it(self, two: Study) -> None:
        before = [one.name for one in two.before(two.batch("mini-t2v", "evolution/round-2"))]
        assert before == ["evolution/round-0", "evolution/round-1"]
        assert two.before(two.batch("mini-t2v", "evolution/round-0")) == []

    def test_are_judged_by_the_rewards_and_in_evaluation_by_those_who_report(self) -> None:
        assert study().batch("mini-t2v", "dpo-1").judges == ("rewards",)
        assert study().batch("mini-t2v", "evaluation/heldout/llm").judges == ("rewards", "witness", "fidelity")
        assert study().pilot("mini-t2v").judges == ("rewards",)
        sets = RAW["evaluation"]["sets"] | {"more": {"prompts": "heldout"}}
        sets["vbench"] = RAW["evaluation"]["sets"]["heldout"] | {"rewards": False}
        judges = RAW["judges"] | {"witness": RAW["judges"]["witness"] | {"on": ["more"]}}
        some = study(evaluation=RAW["evaluation"] | {"sets": sets}, judges=judges)
        names = {name: some.batch("mini-t2v", f"evaluation/{name}/llm").judges for name in sets}
        assert names == {"heldout": ("rewards", "fidelity"), "more": ("rewards", "witness", "fidelity"), "vbench": ()}

    def test_that_a_threshold_of_a_reporting_judge_selects_from_are_judged_by_it(self) -> None:
        filtered = study(evolution=RAW["evolution"] | {"thresholds": {"KEEP": 0.5}})
        assert filtered.batch("mini-t2v", "evolution/round-1").judges == ("rewards", "fidelity")
        assert filtered.pilot("mini-t2v").judges == ("rewards",)


class TestJudges:
    """Groups of judges."""

    def test_are_the_rewards_and_each_that_reports(self) -> None:
        plain = study()
        assert plain.groups == ["rewards", "witness", "fidelity"]
        assert list(plain.judging("rewards", "mini-t2v")) == ["pixels"] and list(
            plain.judging("fidelity", "mini-t2v")
        ) == ["fidelity"]
        assert [one.name for one in plain.metrics("rewards", "mini-t2v")] == [
            "VQ",
            "TC",
            "DD",
            "TVA",
            "FC",
            "AES",
            "MPS",
        ]
        assert [one.name for one in plain.metrics("fidelity", "mini-t2v")] == ["KEEP", "SENSE"]
        assert [one.name for one in plain.reported] == ["AGREE", "REAL", "KEEP", "SENSE"]
        assert plain.looks_at_videos("rewards", "mini-t2v") and not plain.looks_at_videos("fidelity", "mini-t2v")

    @pytest.mark.parametrize("name", ["pixels", "vbench", ""])
    def test_that_there_are_not_are_answered_with_those_that_there_are(self, name: str) -> None:
        with pytest.raises(InputError, match=rf"there are no judges '{name}'; known are rewards, witness, fidelity"):
            study().judging(name, "mini-t2v")


class TestShards:
    """How work is split."""

    def test_film_a_batch_in_enough_jobs_of_the_size_that_is_given(self, two: Study) -> None:
        preference, evaluation = (two.batch("mini-t2v", name) for name in ("dpo-1", "evaluation/heldout/llm"))
        assert two.shards(preference) == ["0001-of-0003", "0002-of-0003", "0003-of-0003"]  # 60 prompts
        assert two.shards(evaluation) == [f"000{number}-of-0004" for number in range(1, 5)]  # 100 prompts
        assert two.scoring_shards(evaluation) == two.shards(evaluation)
        assert two.scoring_shards(evaluation, "witness") == two.shards(evaluation)
        assert two.scoring_shards(evaluation, "fidelity") == ["0001-of-0001"], "texts alone are one job"
        assert [two.scored_together(evaluation, one) for one in two.shards(evaluation)] == [
            [one] for one in two.shards(evaluation)
        ]

    def test_by_minutes_follow_the_generator_and_the_videos_of_a_prompt(self) -> None:
        generators = {"mini-t2v": MINI, "slow": MINI | {"seconds_per_video": 20.0}}
        split = {"shard_size": None, "shard_minutes": 5.0, "generators": generators}
        plain = study(**split)
        names = ("evolution/round-0", "evolution/round-1", "dpo-1")  # 15, 5 (3 variants) and 3 prompts (5 candidates)
        assert [len(plain.shards(plain.batch("slow", name))) for name in names] == [4, 12, 20]
        assert len(plain.shards(plain.batch("mini-t2v", "dpo-1"))) == 1
        preference = plain.batch("slow", "dpo-1")
        assert plain.scoring_shards(preference) == plain.shards(preference)

    def test_a_scoring_job_takes_a_whole_number_of_filming_jobs(self) -> None:
        generators = {"slow": MINI | {"seconds_per_video": 20.0}}
        split = {"shard_size": None, "shard_minutes": 5.0, "score_minutes": 2.0, "generators": generators}
        together = study(**split, planning={"seconds_per_score": 1.0})  # of a job: 120 videos, which are 24 prompts
        batch = together.batch("slow", "dpo-1")
        scoring, filming = together.scoring_shards(batch), together.shards(batch)
        assert scoring == ["0001-of-0003", "0002-of-0003", "0003-of-0003"]
        assert filming == shard_names(21), "no scoring job waits for a video that another one scores"
        assert [list(together.scored_together(batch, one)) for one in scoring] == [
            filming[:7], filming[7:14], filming[14:]
        ]  # fmt: skip
        prompts = list(range(60))
        for shard in scoring:
            filmed = [prompt for one in together.scored_together(batch, shard) for prompt in part(prompts, one)]
            assert filmed == list(part(prompts, shard))

    def test_no_scoring_job_is_smaller_than_a_filming_job(self) -> None:
        together = study(shard_size=30, score_minutes=0.01, planning={"seconds_per_score": 1.0})
        batch = together.batch("mini-t2v", "dpo-1")
        assert together.scoring_shards(batch) == together.shards(batch) == ["0001-of-0002", "0002-of-0002"]

    @pytest.mark.parametrize(("items", "inner", "outer"), [(60, 21, 3), (100, 12, 4), (7, 10, 5), (0, 4, 2), (1, 6, 1)])
    def test_parts_of_more_shards_lie_within_those_of_a_divisor(self, items: int, inner: int, outer: int) -> None:
        things, shards = list(range(items)), shard_names(inner)
        for shard in shard_names(outer):
            within = [one for name in part(shards, shard) for one in part(things, name)]
            assert within == list(part(things, shard))
        assert [one for name in shards for one in part(things, name)] == things

    @pytest.mark.parametrize("name", ["0000-of-0003", "0004-of-0003", "0001", "x-of-y", "", "0001-of-", "-1-of-0003"])
    def test_that_there_are_not_are_refused(self, name: str) -> None:
        with pytest.raises(InputError, match="is no shard; write the third of twelve as 0003-of-0012"):
            part([1, 2, 3], name)


class TestTables:
    """Rows and columns."""

    def test_have_a_row_for_every_set_and_refiner(self, two: Study) -> None:
        rows = comparisons(two)["videoscore"].rows("mini-t2v-1.5/tables")
        assert len(rows) == 2 * 5
        row = next(one for one in rows if one.name == "evaluation/held.out/dpo-1")
        assert row.source == Refine("held.out", "dpo-1")
        assert (
            two.files(row).scores("rewards") == "results/mini-t2v-1.5/evaluation/held.out/dpo-1/rewards/scores.parquet"
        )
        writer = two.writer("mini-t2v-1.5", "dpo-1")
        assert writer and two.files_of(writer).folder == "results/mini-t2v-1.5/boosters/dpo-1"
        assert two.writer("mini-t2v-1.5", "llm") is None

    def test_compare_all_tracks_or_one(self, two: Study) -> None:
        assert two.compared("tables") == ["mini-t2v", "mini-t2v-1.5"]
        assert two.compared("mini-t2v-1.5/tables") == ["mini-t2v-1.5"]

    def test_a_generator_is_compared_with_its_own_refiners(self) -> None:
        own = study(evaluation=RAW["evaluation"] | {"refiners_of": {"mini-t2v": ["original", "dpo-1"]}})
        assert [one.source for one in comparisons(own)["videoscore"].rows("tables")] == [
            Refine("heldout", name) for name in ("original", "dpo-1")
        ]

    def test_read_once_for_all_of_them_where_the_papers_models_come_from(self, monkeypatch: pytest.MonkeyPatch) -> None:
        asked: list[str] = []
        monkeypatch.setattr("promptavideo.published.sources_at", lambda scale, root: asked.append(scale) or ["paper"])
        for table in comparisons(study()).values():
            assert [table.decides(scope)["published"] for scope in ("tables", "mini-t2v/tables")] == [["paper"]] * 2
        assert asked == ["laptop"]

    def test_sets_for_vbench_alone_have_no_row(self) -> None:
        sets = RAW["evaluation"]["sets"] | {"more": RAW["evaluation"]["sets"]["heldout"] | {"rewards": False}}
        rows = comparisons(study(evaluation=RAW["evaluation"] | {"sets": sets}))["videoscore"].rows("mini-t2v/tables")
        assert {row.source.set for row in rows if isinstance(row.source, Refine)} == {"heldout"}

    def test_the_sheet_shows_the_original_the_first_booster_and_the_last(self, two: Study) -> None:
        shown = two.shown("mini-t2v")
        assert list(shown) == ["original", "sft", "dpo-2"]
        assert shown["sft"].name == "evaluation/heldout/sft"


class TestBoosters:
    """What is trained, on what and from what."""

    def test_of_the_paper_start_from_the_one_before_and_on_what_it_draws(self) -> None:
        plain = study(preference=RAW["preference"] | {"rounds": 3})
        chain = [plain.booster(name, "mini-t2v") for name in ("sft", "dpo-1", "dpo-2", "dpo-3")]
        assert [one.start.name if one.start else None for one in chain] == [None, "sft", "dpo-1", "dpo-2"]
        assert [one.drawing.name if one.drawing else None for one in chain] == [None, "sft", "dpo-1", "dpo-2"]
        assert [one.round for one in chain] == [0, 1, 2, 3], "each round draws afresh"
        assert [one.name for one in chain[2].chain] == ["sft", "dpo-1", "dpo-2"]
        assert [one.prompts for one in chain[:2]] == ["evolution", "preference"]
        assert {(one.home, one.tracks) for one in chain} == {("mini-t2v", ("mini-t2v",))}
        cards = [f"results/mini-t2v/boosters/{name}/booster.json" for name in ("sft", "dpo-1", "dpo-2")]
        assert plain.cards(chain[1:3]) == cards, "each once"
        assert plain.sources(chain[0]) == ["results/mini-t2v/pairs.parquet"]
        assert plain.sources(chain[2]) == ["results/mini-t2v/dpo-2/triples.parquet"]

    def test_may_be_trained_on_the_data_of_several_tracks(self) -> None:
        shared = across({"universal": {"trainer": "sft", "tracks": ["a", "b"]}}, {"universal": "universal"}, {})
        booster = shared.booster("universal", "a")
        assert booster is shared.booster("universal", "b")
        assert (booster.home, booster.tracks, booster.known_as) == ("shared", ("a", "b"), "universal")
        assert shared.sources(booster) == ["results/a/pairs.parquet", "results/b/pairs.parquet"]
        assert shared.files_of(booster).card == "results/shared/boosters/universal/booster.json"
        compared = across(
            {"universal": {"trainer": "sft", "tracks": ["a", "b"]}}, {"universal": "universal"}, {"b": ["universal"]}
        )
        assert "universal" in [one.known_as for one in compared.boosters("a")], "which compares its own"
        assert "universal" in [one.known_as for one in compared.boosters("b")]
        assert compared.writer("b", "universal") == compared.writer("a", "universal")

    def test_of_a_shared_chain_draw_in_each_track(self) -> None:
        tracks = {"tracks": ["a", "b"]}
        shared = across({name: tracks for name in ("sft", "dpo-1", "dpo-2")}, {}, {})
        booster = shared.booster("dpo-1", "b")
        assert shared.sources(booster) == ["results/a/dpo-1/triples.parquet", "results/b/dpo-1/triples.parquet"]
        drawn = [shared.batch(track, "dpo-1").source for track in ("a", "b")]
        assert drawn == [Draw(booster), Draw(booster)]

    def test_of_a_track_alone_have_no_candidates_in_another(self) -> None:
        some = across({"dpo-1": {"tracks": ["a"], "from": "a/sft"}, "dpo-2": {"from": "a/sft"}}, {}, {"b": ["dpo-2"]})
        assert some.batch("a", "dpo-1")
        with pytest.raises(InputError, match="b has no batch 'dpo-1'; known are"):
            some.batch("b", "dpo-1")

    def test_may_go_on_from_another_tracks(self) -> None:
        chain = across({"dpo-1": {"from": "a/sft"}}, {}, {})
        own, theirs = chain.booster("dpo-1", "a"), chain.booster("dpo-1", "b")
        assert own.start is theirs.start and own != theirs
        assert [one.known_as for one in theirs.chain] == ["a/sft", "b/dpo-1"]
        assert [one.known_as for one in chain.booster("dpo-2", "b").chain] == ["a/sft", "b/dpo-1", "b/dpo-2"]

    def test_may_learn_from_what_another_one_draws_on_other_prompts(self) -> None:
        data = {"draw": "sft", "prompts": "evolution"}
        booster = across({"dpo-2": {"data": data}}, {}, {}).booster("dpo-2", "a")
        assert booster.start and booster.drawing
        assert (booster.start.name, booster.drawing.name, booster.prompts) == ("dpo-1", "sft", "evolution")

    def test_of_another_track_make_a_track_train_nothing_of_its_own(self) -> None:
        """A refiner that films one generator with another one's booster."""
        theirs = across({}, {"theirs": "a/sft"}, {"b": ["theirs"]})
        writer = theirs.writer("b", "theirs")
        assert writer and writer.known_as == "a/sft" and theirs.writer("a", "theirs") == writer
        assert theirs.boosters("b") == []
        assert [one.name for one in theirs.batches("b")] == ["evaluation/heldout/original", "evaluation/heldout/theirs"]
        assert [one.known_as for one in theirs.boosters("a")] == ["a/sft", "a/dpo-1", "a/dpo-2"]
        assert list(theirs.shown("b")) == ["original", "theirs"]

    @pytest.mark.parametrize("name", ["dpo-3", "c/sft", "a/dpo-3", ""])
    def test_that_there_are_not_are_answered_with_those_that_there_are(self, name: str) -> None:
        with pytest.raises(InputError, match=f"there is no booster '{name}'; known are sft, dpo-1, dpo-2"):
            across({}, {}, {}).booster(name, "a")

    @pytest.mark.parametrize("track", ["c", ""])
    def test_of_no_track_are_answered_with_the_tracks(self, track: str) -> None:
        """As `results/shared/boosters/sft` is asked for."""
        with pytest.raises(InputError, match=f"there is no track '{track}' with a booster 'sft'; known are a, b"):
            across({}, {}, {}).booster("sft", track)


class TestLayout:
    """Paths."""

    def test_of_a_batch_are_below_its_folder(self) -> None:
        files = Layout().batch("wan", "evaluation/heldout/sft")
        folder = "results/wan/evaluation/heldout/sft"
        assert (files.prompts, files.writing) == (f"{folder}/prompts.parquet", f"{folder}/prompts.timing.json")
        assert files.manifest("0003-of-0012") == f"{folder}/videos/0003-of-0012.jsonl"
        assert files.filming("0003-of-0012") == f"{folder}/videos/0003-of-0012.timing.json"
        assert files.judged("rewards", "0003-of-0012") == f"{folder}/rewards/0003-of-0012.parquet"
        assert files.judging("witness", "0003-of-0012") == f"{folder}/witness/0003-of-0012.timing.json"
        assert files.scores("rewards") == f"{folder}/rewards/scores.parquet"
        assert files.origin("rewards") == f"{folder}/rewards/scores.provenance.json"
        assert files.listing == f"{folder}/vbench/videos.json"
        assert files.dimension("color", "0001-of-0002") == f"{folder}/vbench/color/0001-of-0002.json"

    def test_take_wildcards_for_names(self) -> None:
        assert (
            Layout().batch("{track}", "{batch}").manifest("{shard}") == "results/{track}/{batch}/videos/{shard}.jsonl"
        )
        assert Layout().log("score", "{track}", "{shard}") == "logs/score/{track}/{shard}.log"
        assert Layout().benchmark("check_base") == "benchmarks/check_base.tsv"

    def test_of_the_store_follow_the_configuration(self) -> None:
        kept = study(store="/scratch/store").layout
        assert kept.ledger == "/scratch/store/chat/ledger.jsonl"
        assert kept.checkpoints("wan") == "/scratch/store/wan/checkpoints"

    def test_of_models_and_records_are_each_once(self) -> None:
        plain = study()
        entries = [plain.config.generators["mini-t2v"], *plain.judging("fidelity", "mini-t2v").values()] * 2
        assert plain.manifests_of(entries) == [
            f"resources/models/{name}/manifest.json" for name in ("mini-t2v", "minilm-l6")
        ]
        assert plain.base == "resources/models/smollm2-135m/manifest.json"
        assert plain.writing(plain.batch("mini-t2v", "dpo-1")) == ["results/mini-t2v/dpo-1/prompts.timing.json"]
        assert plain.writing(plain.batch("mini-t2v", "evolution/round-1")) == [], "operators keep a ledger"
