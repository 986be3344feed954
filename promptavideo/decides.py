"""What decides the outputs of each step: a rule's one parameter is its digest, so that nothing else reruns the rule.

A method a rule, with the rule's wildcards. Inputs are not named here, since a changed input reruns a step by itself;
that there are more or fewer of them is.
"""

import hashlib
import json
from collections.abc import Iterable
from typing import Any

from promptavideo.batches import Booster, Draw, Refine, Round
from promptavideo.comparisons import comparisons, shown
from promptavideo.judging import group_of
from promptavideo.rating.config import compared
from promptavideo.rating.folder import unmerged
from promptavideo.study import Study

Facts = dict[str, Any]


class Decides:
    """What decides each step of a run."""

    def __init__(self, study: Study) -> None:
        self._study, self._config, self._vbench = study, study.config, study.vbench
        self._tables = comparisons(study)

    def digest(self, rule: str, **wildcards: str) -> str:
        """Twelve hexadecimal digits over what decides a job of a rule."""
        facts = json.dumps(getattr(self, rule)(**wildcards), sort_keys=True)
        return hashlib.sha256(facts.encode()).hexdigest()[:12]

    def _objective(self, track: str) -> list[str]:
        return [metric.name for metric in self._study.objective(track)]

    # Inputs

    def fetch(self, model: str) -> Facts:
        """Where the model comes from."""
        return self._config.models[model].decides()

    def prompt_source(self, prompt_source: str) -> Facts:
        """Which captions are taken."""
        return self._config.prompt_sources[prompt_source].decides()

    def pair_source(self, pair_source: str) -> Facts:
        """Which pairs are taken, and which prompts are tested on."""
        return self._config.pair_sources[pair_source].decides() | {"tests": self._study.evaluated()}

    def instruction(self, refiner: str) -> Facts:
        """Which text of which file is taken."""
        published = self._config.refiners[refiner].published
        assert published
        return published.decides()

    def prompt_set(self, prompt_set: str) -> Facts:
        """Which prompts are taken."""
        return self._config.prompt_sets[prompt_set].decides()

    def check_base(self) -> Facts:
        """What a base model is checked for."""
        booster = self._config.booster
        targets = {name: getattr(booster, name).lora.targets for name in ("sft", "dpo")}
        return {"base": booster.base, "instruction": booster.instruction, "targets": targets}

    def vbench_prompts(self) -> Facts:
        """Which wheel they are read from."""
        return {"version": self._config.vbench.version, "sha256": self._config.vbench.sha256}

    def vbench_checkpoint(self, checkpoint: str) -> Facts:
        """Where the checkpoint comes from."""
        return self._vbench.checkpoints[checkpoint].model_dump(mode="json")

    def reader(self, track: str) -> Facts:
        """What says how much of a text is read."""
        entry = self._config.generators[track].decides()
        limit = entry.get("sampling", {}).get("max_sequence_length")
        return {"pipeline": entry.get("pipeline"), "limit": limit, "text_tokens": entry.get("text_tokens")}

    # Batches

    def propose(self, track: str, batch: str) -> Facts:
        """The originals, or the operator and what it is asked."""
        source, evolution = self._study.batch(track, batch).source, self._config.evolution
        facts = {"seed": self._config.seed, "prompts": evolution.prompts}
        if not isinstance(source, Round):
            return facts | evolution.round(0)
        operator = self._config.operators[evolution.operator_of(track)]
        shown = {"objective": self._objective(track), "operator": operator.decides()}
        shown["template"] = self._study.template(track)
        return facts | evolution.round(source.number) | shown | self._unbounded([track])

    def candidates(self, track: str, batch: str) -> Facts:
        """The booster that draws, and how."""
        found = self._study.batch(track, batch)
        assert isinstance(found.source, Draw) and found.source.learner.drawing
        texts = found.source.learner.texts
        return {
            "seed": self._config.seed,
            "prompts": found.prompts,
            "drawing": found.source.learner.drawing.known_as,
            "round": found.source.learner.round,
            "candidates": found.per_prompt,
            **self._drawing(found.source.learner.drawing),
            **(self._beside(texts) if texts else {}),
        }

    def refine(self, track: str, batch: str) -> Facts:
        """The refiner, and the operator or booster behind it."""
        found = self._study.batch(track, batch)
        assert isinstance(found.source, Refine)
        refiner = self._config.refiners[found.source.refiner]
        operator, booster = refiner.asks, self._study.writer(track, found.source.refiner)
        files = self._study.read_by(found.source.refiner, track)
        return {
            "seed": self._config.seed,
            "prompts": found.prompts,
            "replicates": found.per_prompt,
            "refiner": refiner.decides(),
            **({"files": files} if files != refiner.files else {}),
            "operator": self._config.operators[operator].decides() if operator else None,
            "booster": {"name": booster.known_as, **self._drawing(booster)} if booster else None,
            **({"drawing": self._settings(self._config.booster.decides(), [track])} if refiner.over_base else {}),
        }

    def pilot_prompts(self, track: str, batch: str) -> Facts:
        """How many."""
        return {"prompts": self._config.planning.pilot_prompts}

    def film(self, track: str, batch: str, shard: str) -> Facts:
        """What films; what bounds texts says nothing of how they are filmed."""
        entry = self._config.generators[self._study.batch(track, batch).generator].decides()
        return {name: value for name, value in entry.items() if name != "text_tokens"}

    def score(self, track: str, batch: str, judges: str, shard: str) -> Facts:
        """What judges."""
        entries = self._study.judging(judges, track)
        metrics = [metric.name for metric in self._study.metrics(judges, track)]
        return {"metrics": metrics, **{name: [entry.VERSION, entry.decides()] for name, entry in entries.items()}}

    def gather(self, track: str, batch: str, judges: str) -> Facts:
        """What is gathered."""
        return group_of(self._study, judges).decides(self._study.batch(track, batch))

    # Learning

    def pairs(self, track: str) -> Facts:
        """The rule, and how many rounds there are."""
        evolution = self._config.evolution
        return {**evolution.pairs, "rounds": evolution.rounds, "objective": self._objective(track)}

    def negatives(self, track: str) -> Facts:
        """The operator, and what it is asked."""
        rule = self._config.negatives
        if rule is None:
            return {}
        operator = self._config.operators[rule.operator].decides()
        return {"seed": self._config.seed, "rule": rule.decides(), "operator": operator}

    def triples(self, track: str, batch: str) -> Facts:
        """The rule that is chosen, with its constants."""
        preference = self._config.preference
        return {"rule": preference.rule, **preference.chosen.decides(), "objective": self._objective(track)}

    def train(self, home: str, booster: str) -> Facts:
        """The trainer's settings, what it goes on from and whose data it learns from."""
        found = self._study.owned(home, booster)
        settings = self._study.settings_of(found).decides()
        released = self._study.released(found)
        return {
            "seed": self._config.seed,
            "settings": found.entry.settled(self._config.booster).decides(),
            "trainer": found.entry.decides()["trainer"],
            "from": found.start.known_as if found.start else None,
            "tracks": found.tracks,
            **({"released": released} if released else {}),
            **{key: settings[key] for key in ("base", "instruction", "dtype", "threads")},
        }

    def _beside(self, texts: Booster) -> Facts:
        """What decides candidates of negative prompts beside what draws them."""
        descriptors = self._config.booster.negative.descriptors.decides()
        return {"texts": {"name": texts.known_as, **self._drawing(texts)}, "descriptors": descriptors}

    def _drawing(self, one: Booster) -> Facts:
        return self._settings(self._study.settings_of(one).decides(), one.tracks)

    def _settings(self, booster: Facts, tracks: Iterable[str]) -> Facts:
        """What of the section `booster` decides texts for some tracks."""
        return {key: booster[key] for key in ("base", "instruction", "dtype", "sampling")} | self._unbounded(tracks)

    def _unbounded(self, tracks: Iterable[str]) -> Facts:
        """The tracks whose texts may be longer than their generators read; else a file says how long they may be."""
        generators = self._config.generators
        free = [one for one in tracks if getattr(generators[one], "text_tokens", "encoder") is None]
        return {"unbounded": free} if free else {}

    # VBench

    def vbench_videos(self, track: str, batch: str) -> Facts:
        """Whether its prompts are VBench's own; all dimensions that a video could be judged for are listed."""
        return {"mode": self._vbench.set_of(self._study.batch(track, batch)).mode}

    def vbench_dimension(self, track: str, batch: str, dimension: str, shard: str) -> Facts:
        """Nothing but its inputs."""
        return {}

    # The user study

    def study(self) -> Facts:
        """What raters see: the pairs, and how they are dealt."""
        found, given = compared(self._study), self._config.user_study
        if found is None or given is None:
            return {}
        shown = {"track": found.track, "set": found.set, "pairs": found.pairs}
        return {"seed": self._config.seed, **given.plans, **shown}

    def user_study_votes(self) -> Facts:
        """Which files there are, and what a server has not yet put into its database itself."""
        return {"files": {file: unmerged(file) for file in self._study.votes}}

    # Tables and figures

    def table(self, scope: str, table: str) -> Facts:
        """The rows and columns, and how they are resampled."""
        return self._tables[table].decides(scope)

    def study_figure(self, table: str) -> Facts:
        """Nothing but its table."""
        return {}

    def evolution_story(self, track: str) -> Facts:
        """Which prompts are shown, and by what candidates are ranked."""
        evolution = self._config.evolution
        return {
            "shown": evolution.story,
            "rounds": evolution.rounds,
            "parents": evolution.parents,
            "weights": evolution.weights,
            "objective": self._objective(track),
            "scale": self._config.scale,
        }

    def evolution_curve(self, track: str) -> Facts:
        """Which rounds are shown, and how they are resampled."""
        evolution, bootstrap = self._config.evolution, self._config.evaluation.bootstrap.decides()
        return {"rounds": evolution.rounds, "weights": evolution.weights, "bootstrap": bootstrap}

    def training_curves(self, track: str) -> Facts:
        """Which boosters are shown."""
        return {"boosters": [one.known_as for one in self._study.boosters(track)]}

    def contact_sheet(self, track: str) -> Facts:
        """Which batches are shown."""
        return {"shown": [one.name for one in self._study.shown(track).values()]}

    def gallery(self) -> Facts:
        """What is shown, and how it is copied."""
        return {
            "shown": [[one.track, one.name] for one in self._study.galleried],
            "reported": [metric.name for metric in self._study.reported],
            "objective": self._config.objective,
            "average": self._config.evaluation.average,
            "scale": self._config.scale,
            **self._config.gallery.decides(),
        }

    def qualitative(self) -> Facts:
        """Which batches are shown, by whose gains, and which of their prompts and frames."""
        shown = self._study.qualitative
        ranked, config = self._study.ranked or (), self._config
        return {
            "shown": [[one.track, one.name] for one in shown.values()],
            "ranked": [[one.track, one.name] for one in ranked],
            "prompts": config.qualitative.prompts,
            "count": config.qualitative.count,
            "frames": config.qualitative.frames,
            "average": config.evaluation.average,
            "objective": config.objective,
            "scale": config.scale,
        }

    def miniature_card(self, generator: str) -> Facts:
        """What films, the seed, and whose words are said."""
        films = self._config.generators[generator].decides()
        return {"seed": self._config.seed, "generator": films, "dialect": self._study.dialect(generator)}

    def report(self) -> Facts:
        """Which tables and tracks there are, and which videos are played."""
        tracks = self._study.tracks
        drawn = {track: self._study.figures(track) for track in tracks}
        played = [[track, one.name] for track in tracks for one in self._study.played(track).values()]
        average = self._config.evaluation.average
        return {"tracks": drawn, "tables": list(shown(self._study)), "average": average, "played": played}
