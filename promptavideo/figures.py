"""Figures: how evolution and training went, and how the refiners compare.

Every function takes tables and writes one PNG. The same input gives the same bytes. Text is drawn as it is, never as
mathematics, and characters that the font lacks are drawn as a box.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import ceil, log
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from promptavideo.drawing import COLOURS, GRAY, MARKERS, PALE, drawable, saved
from promptavideo.errors import InputError
from promptavideo.resampling import BootstrapConfig, bootstrap_interval
from promptavideo.tables import BASELINE, PAPER_SET

MAX_PROMPT_LINES = 60  # thin lines in the evolution figure; more would be a blot


def evolution_curve(
    rounds: Mapping[int, pd.DataFrame],
    totals: Callable[[pd.DataFrame], pd.Series],
    path: Path,
    bootstrap: BootstrapConfig,
) -> None:
    """Draw the best total so far and the mean total of each round, over prompts, with 95 % bootstrap intervals.

    A candidate's total is the mean over its replicates. Thin lines are single prompts (at most 60, evenly picked). The
    best of several noisy totals rises even where nothing improves, so the round's mean is drawn beside it.

    Args:
        rounds: Scores (`schemas.scores`) by round number; round 0 is usually the original prompts.
        totals: Maps scores to one total a row, on the same index.
        path: Target, `.png`.
        bootstrap: Resampling settings.
    """
    mean, best = _by_round(rounds, totals)
    numbers = mean.columns.to_numpy()
    with saved(path, (6.4, 4.4)) as figure:
        axes = figure.subplots()
        picked = np.unique(np.linspace(0, len(best) - 1, min(len(best), MAX_PROMPT_LINES)).round().astype(int))
        axes.plot(numbers, best.iloc[picked].to_numpy().T, color=PALE, linewidth=0.6, alpha=0.6, zorder=1)
        axes.plot([], [], color=PALE, linewidth=1, label="best so far, each prompt")
        series = (("best so far", best, -0.03), ("mean of the round", mean, 0.03))  # apart, so that both bars show
        for (label, values, shift), colour, marker in zip(series, COLOURS, MARKERS, strict=False):
            shifted = numbers + shift
            ends = [bootstrap_interval(values[n].dropna().to_numpy(), bootstrap, "evolution") for n in numbers]
            axes.vlines(shifted, *np.transpose(ends), color=colour, linewidth=2, zorder=2)
            axes.plot(shifted, values.mean(), color=colour, marker=marker, linewidth=2, label=label, zorder=3)
        axes.set(xlabel="round (0: the original prompts)" if 0 in rounds else "round", ylabel="total")
        axes.set_title(f"Evolution: mean and 95 % interval (prompts: {len(mean)})", loc="left")
        axes.set_xlim(numbers[0] - 0.25, numbers[-1] + 0.25)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10], min_n_ticks=1))
        figure.legend(loc="outside lower center", ncols=3)


def stage_scores(table: pd.DataFrame, path: Path) -> None:
    """Draw `avg` by refiner with its 95 % interval, one panel for each generator and set; beside it its value and gain.

    The paper's rows get panels of their own, with hollow markers and without intervals, which the paper does not give.
    Panels have their own scales: numbers of different generators or sets are not to be compared.

    Args:
        table: As `tables.videoscore_table` or `tables.with_paper_rows` returns it.
        path: Target, `.png`.
    """
    panels = list(table.groupby(["generator", "set"], sort=False))
    tallest = max(len(rows) for _, rows in panels)
    with _panels(path, len(panels), 0.34 * tallest + 1.1) as grid:
        for axes, ((generator, name), rows) in zip(grid, panels, strict=True):
            printed = name == PAPER_SET
            _stage_panel(axes, rows, printed)
            label = "paper, Table 1" if printed else drawable(str(name), 20)
            axes.set_title(f"{drawable(str(generator), 24)} · {label}", loc="left")


def held_out(table: pd.DataFrame, path: Path) -> None:
    """Draw, by refiner, the gain of the rewards' `avg` beside judges that nobody trained on, and the texts' length.

    Where the rewards rise and the held-out judges fall, a booster pleases the rewards rather than people. One row of
    panels for each generator and set; values are paired differences to `original`, with 95 % intervals.

    Args:
        table: As `tables.videoscore_table` returns it, with at least one reported metric.
        path: Target, `.png`.
    """
    ours = table[table["set"] != PAPER_SET]
    groups = list(ours.groupby(["generator", "set"], sort=False))
    with saved(path, (3.4 * 3, 2.9 * len(groups))) as figure:
        grid = figure.subplots(len(groups), 3, squeeze=False)
        for (rewards, judges, words), ((generator, name), rows) in zip(grid, groups, strict=True):
            places = np.arange(len(rows))
            _gains(rewards, rows, ["gain"], ["avg of the rewards (0-5)"])
            filled = _reported(rows)
            _gains(judges, rows, [f"{metric}_gain" for metric in filled], [drawable(one, 24) for one in filled])
            words.bar(places, rows["words"].to_numpy(float), color=PALE)
            titles = (
                f"{drawable(str(generator), 20)} · {drawable(str(name), 16)}",
                "held-out judges",
                "words a text",
            )
            for axes, title in zip((rewards, judges, words), titles, strict=True):
                axes.set_xticks(places, [drawable(str(one), 14) for one in rows["refiner"]], rotation=30, ha="right")
                axes.set_title(title, loc="left")


def _reported(rows: pd.DataFrame) -> list[str]:
    """The metrics that have gains of their own in some rows of a table; not every judge looks at every set."""
    metrics = [name.removesuffix("_gain") for name in map(str, rows) if name.endswith("_gain")]
    return [metric for metric in metrics if rows[f"{metric}_gain"].notna().any()]


def _gains(axes: Axes, rows: pd.DataFrame, columns: Sequence[str], labels: Sequence[str]) -> None:
    """Lines of gains with their intervals, 0 for the original prompts."""
    axes.axhline(0, color=GRAY, linestyle=":", linewidth=1.2)
    for place, (column, label) in enumerate(zip(columns, labels, strict=True)):
        colour, shift = COLOURS[place % len(COLOURS)], 0.06 * (place - (len(columns) - 1) / 2)
        values = rows[column].where(rows["refiner"] != BASELINE, 0.0).to_numpy(float)
        places = np.arange(len(rows)) + shift
        axes.vlines(places, rows[f"{column}_ci_low"], rows[f"{column}_ci_high"], color=colour, linewidth=2)
        marker = MARKERS[place % len(MARKERS)]
        axes.plot(places, values, color=colour, marker=marker, markersize=4, linewidth=1.2, label=label)
    axes.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.28), ncols=2)


def convergence(table: pd.DataFrame, path: Path) -> None:
    """Draw what each stage gains at what price, and below what it may pay for that with.

    Two rows of panels for each generator and set, all gains with 95 % intervals: the gain of `avg`, the paired
    difference to the stage before with its p-value, the gain by videos filmed (none is drawn at 0); then the gain of
    the dynamic degree, those of the judges that only report, and the texts: their length, the share that says a phrase
    twice, and the share of different candidates.

    Args:
        table: As `convergence.convergence_table` returns it, with all its columns.
        path: Target, `.png`.
    """
    groups = list(table.groupby(["generator", "set"], sort=False))
    with saved(path, (4.0 * 3, 6.9 * len(groups))) as figure:
        grid = figure.subplots(2 * len(groups), 3, squeeze=False)
        for place, ((generator, name), rows) in enumerate(groups):
            above, below = grid[2 * place], grid[2 * place + 1]
            _prices(above, rows)
            _costs(below, rows)
            title = f"{drawable(str(generator), 20)} · {drawable(str(name), 16)}"
            prices = (f"{title}: gain", "to the stage before", "gain by price")
            costs = ("dynamic degree: gain", "held-out judges: gains", "texts")
            for axes, head in zip((*above, *below), (*prices, *costs), strict=True):
                axes.set_title(head, loc="left")
            names = [drawable(str(one), 14) for one in rows["refiner"]]
            for axes in (*above[:2], *below):
                axes.set_xticks(np.arange(len(rows)), names, rotation=30, ha="right")
                axes.set_xlim(-0.5, len(rows) - 0.5)


def _prices(panels: NDArray[np.object_], rows: pd.DataFrame) -> None:
    """What stages gain: in all, over the stage before, and by the videos filmed."""
    _, steps, prices = panels
    places, filmed = np.arange(len(rows), dtype=float), rows["filmed_total"].to_numpy(float)
    for axes, xs, column, colour in zip(
        panels, (places, places, filmed), ("gain", "step", "gain"), COLOURS, strict=False
    ):
        _points(axes, xs, rows, column, colour)
    for place, value, chance in zip(places, rows["step"], rows["step_p_value"], strict=True):
        if not np.isnan(chance):
            said = f"p {chance:.2g}" if chance >= 0.001 else "p < 0.001"
            steps.annotate(said, (place, value), (5, 4), textcoords="offset points", fontsize=7, color=GRAY)
    for place, value, name in zip(filmed, rows["gain"].fillna(0.0), rows["refiner"], strict=True):
        label = drawable(str(name), 14)
        prices.annotate(label, (place, value), (5, 4), textcoords="offset points", fontsize=7, color=GRAY)
    prices.set_xlabel("videos filmed to learn it")
    prices.xaxis.set_major_locator(MaxNLocator(5, integer=True, min_n_ticks=1))
    prices.margins(x=0.15)


def _costs(panels: NDArray[np.object_], rows: pd.DataFrame) -> None:
    """What gains may be paid for with: motion, what held-out judges see, and the texts."""
    dynamic, judges, texts = panels
    if "DD_gain" in rows:
        _points(dynamic, np.arange(len(rows), dtype=float), rows, "DD_gain", COLOURS[3])
    if filled := [metric for metric in _reported(rows) if metric != "DD"]:
        _gains(judges, rows, [f"{metric}_gain" for metric in filled], [drawable(one, 24) for one in filled])
    texts.bar(np.arange(len(rows)), rows["words"].to_numpy(float), color=PALE, label="words (left)")
    shares = texts.twinx()
    shares.set_ylim(-0.03, 1.03)
    shares.grid(visible=False)
    for name, label, colour, marker in zip(
        ("repeated", "distinct"),
        ("repeat a phrase (right)", "distinct candidates (right)"),
        COLOURS,
        MARKERS,
        strict=False,
    ):
        shares.plot(np.arange(len(rows)), rows[name].to_numpy(float), color=colour, marker=marker, label=label)
    handles, labels = (
        a + b for a, b in zip(texts.get_legend_handles_labels(), shares.get_legend_handles_labels(), strict=True)
    )
    texts.legend(handles, labels, fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.28), ncols=2)


def _points(axes: Axes, places: NDArray[np.float64], rows: pd.DataFrame, column: str, colour: str) -> None:
    """Values with their intervals; the original prompts gain 0, and have no stage before them."""
    axes.axhline(0, color=GRAY, linestyle=":", linewidth=1.2)
    values = rows[column].to_numpy(float)
    if column != "step":
        values = np.where(rows["refiner"] == BASELINE, 0.0, values)
    axes.vlines(places, rows[f"{column}_ci_low"], rows[f"{column}_ci_high"], color=colour, linewidth=2)
    axes.scatter(places, values, s=28, color=colour, zorder=3)


def transfer(table: pd.DataFrame, path: Path) -> None:
    """Draw a heat map of gains, boosters by generators, one panel a set; each cell says its 95 % interval.

    A frame marks the generators whose data a booster learned from. A cell that was not filmed stays white.

    Args:
        table: As `transfer.transfer_table` returns it.
        path: Target, `.png`.
    """
    columns = [name for name in table if str(name).endswith("_gain")]
    generators = [str(name).removesuffix("_gain") for name in columns]
    groups = list(table.groupby("set", sort=False))
    most = max([len(rows) for _, rows in groups], default=1)
    limit = float(np.nanmax(np.abs(table[columns].to_numpy(float)), initial=0.0)) or 1.0
    size = ((2.6 + 1.7 * len(columns)) * max(1, len(groups)), 1.4 + 0.6 * most)
    with saved(path, size) as figure:
        for axes, (name, rows) in zip(figure.subplots(1, max(1, len(groups)), squeeze=False)[0], groups, strict=False):
            gains = rows[columns].to_numpy(float)
            axes.imshow(gains, cmap="RdBu", vmin=-limit, vmax=limit, aspect="auto")
            axes.grid(visible=False)
            axes.set_title(f"{drawable(str(name), 16)}: gain", loc="left")
            axes.set_xticks(range(len(columns)), [drawable(one, 18) for one in generators])
            axes.set_yticks(range(len(rows)), [drawable(str(one), 30) for one in rows["booster"]])
            for (y, x), gain in np.ndenumerate(gains):
                if np.isnan(gain):
                    continue
                low, high = (rows[f"{columns[x]}_ci_{end}"].iloc[y] for end in ("low", "high"))
                colour = "white" if abs(gain) > 0.6 * limit else "black"
                said = f"{gain:+.3f}\n[{low:.3f}, {high:.3f}]"
                axes.text(x, y, said, ha="center", va="center", fontsize=8, color=colour)
                if generators[x] in str(rows["learned_from"].iloc[y]).split(", "):
                    frame = Rectangle((x - 0.47, y - 0.45), 0.94, 0.9, fill=False, edgecolor="black", linewidth=1.8)
                    axes.add_patch(frame)


def training_curves(logs: Mapping[str, pd.DataFrame], path: Path) -> None:
    """Draw the loss of SFT and DPO, and DPO's reward margins and accuracies, by optimiser step.

    Dotted lines mark a model that has not learned: DPO loss ln 2, margin 0, accuracy one half.

    Args:
        logs: Training logs by stage, with the columns `step` and `loss` and, for DPO, `rewards/margins` and
            `rewards/accuracies`; empty cells are skipped.
        path: Target, `.png`.

    Raises:
        InputError: A log lacks `step` or `loss`.
    """
    for name, log_table in logs.items():
        missing = [column for column in ("step", "loss") if column not in log_table]
        if missing:
            raise InputError(f"training log {name!r} lacks the columns {', '.join(missing)}; train that stage again")
    dpo = {name: log_table for name, log_table in logs.items() if "rewards/margins" in log_table}
    sft = {name: log_table for name, log_table in logs.items() if name not in dpo}
    panels: list[tuple[str, str, Mapping[str, pd.DataFrame], float | None]] = []
    if sft:
        panels.append(("SFT: loss", "loss", sft, None))
    if dpo:
        panels.append(("DPO: loss", "loss", dpo, log(2)))
        panels.append(("DPO: reward margin", "rewards/margins", dpo, 0.0))
        panels.append(("DPO: reward accuracy", "rewards/accuracies", dpo, 0.5))
    looks = {name: (COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)]) for i, name in enumerate(logs)}
    with _panels(path, len(panels), 3.1) as grid:
        for axes, (title, column, shown, untrained) in zip(grid, panels, strict=True):
            if untrained is not None:
                axes.axhline(untrained, color=GRAY, linestyle=":", linewidth=1.2)
            for name, log_table in shown.items():
                if column in log_table:
                    points = log_table[["step", column]].dropna()
                    colour, marker = looks[name]
                    every = max(1, len(points) // 15)
                    line = axes.plot(points["step"], points[column], color=colour, marker=marker, markevery=every)[0]
                    line.set(label=drawable(name, 24), markersize=4, linewidth=1.5)
            axes.set(xlabel="step")
            axes.set_title(title, loc="left")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
            if column == "rewards/accuracies":
                axes.set_ylim(-0.03, 1.03)
            if axes.get_legend_handles_labels()[0]:
                axes.legend()


@contextmanager
def _panels(path: Path, count: int, height: float) -> Iterator[NDArray[np.object_]]:
    """The axes of a figure of panels, two in a row."""
    columns = min(2, count)
    rows = ceil(count / columns)
    with saved(path, (4.8 * columns, height * rows)) as figure:
        grid = figure.subplots(rows, columns, squeeze=False).ravel()
        for spare in grid[count:]:
            spare.remove()
        yield grid[:count]


def _by_round(
    rounds: Mapping[int, pd.DataFrame], totals: Callable[[pd.DataFrame], pd.Series]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The round's mean total and the best total so far, each [prompt_id, round], both sorted."""
    means, bests = {}, {}
    for number in sorted(rounds):
        scores = rounds[number].sort_values(["prompt_id", "candidate", "replicate"])
        candidates = totals(scores).groupby([scores["prompt_id"], scores["candidate"]]).mean()
        by_prompt = candidates.groupby(level="prompt_id")
        means[number], bests[number] = by_prompt.mean(), by_prompt.max()
    # a prompt without candidates in a round keeps its best
    best = pd.DataFrame(bests).sort_index().cummax(axis=1).ffill(axis=1)
    return pd.DataFrame(means).sort_index(), best


def _stage_panel(axes: Axes, rows: pd.DataFrame, printed: bool) -> None:
    places = np.arange(len(rows))
    averages = rows["avg"].to_numpy(float)
    is_baseline = (rows["refiner"] == BASELINE).to_numpy()
    colours = [GRAY if baseline else COLOURS[0] for baseline in is_baseline]
    if is_baseline.any():
        axes.axvline(averages[is_baseline][0], color=GRAY, linestyle=":", linewidth=1.2)
    axes.hlines(places, rows["avg_ci_low"].to_numpy(float), rows["avg_ci_high"].to_numpy(float), colors=colours, lw=2.5)
    faces = ["white"] * len(rows) if printed else colours
    axes.scatter(averages, places, s=45, c=faces, edgecolors=colours, linewidths=1.5, zorder=3)
    for place, value, gain in zip(places, averages, rows["gain"].to_numpy(float), strict=True):
        text = f"{value:.2f}" + ("" if np.isnan(gain) else f" ({gain:+.2f})")
        axes.annotate(text, (1.02, place), xycoords=("axes fraction", "data"), va="center", fontsize=9, color=GRAY)
    axes.set_yticks(places, [drawable(str(name), 24) for name in rows["refiner"]])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xlabel("avg (0-5)")
    axes.margins(x=0.1)
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    axes.grid(False, axis="y")
