import itertools
import json
import re
from pathlib import Path
from statistics import fmean

import numpy as np
import pandas as pd
import pytest
from makers import FAST, METRICS, PAPER, TO_FIVE, flat_scores, make_scores
from scipy import stats

from promptavideo.errors import InputError, ScoreError
from promptavideo.figures import held_out
from promptavideo.metrics import Metric
from promptavideo.resampling import BootstrapConfig, bootstrap_interval, paired_p_value
from promptavideo.tables import (
    LAPTOP_NOTE,
    PAPER_COLUMNS,
    PAPER_NOTE,
    Arm,
    Columns,
    footnotes,
    read,
    read_videoscore_table,
    videoscore_table,
    with_paper_rows,
    write,
    write_provenance,
)

COLUMNS = PAPER_COLUMNS.all
FIRST_FIVE = ("VQ", "TC", "DD", "TVA", "FC")
HOSTILE = [
    "<script>alert(1)</script>",
    "$x^2$",
    "a|b",
    "100% \\input{/etc/passwd}",
    "_a_ {b} ~c^d #e & f",
    "[0pt] * x",
    "two\nlines\\\\",
    "`code` ![i](http://x)",
]


def random_scores(seed: int, prompts: int = 12, replicates: int = 2, shift: float = 0.0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return make_scores(
        {
            (f"p{i:03}", k): {d: rng.normal(2.5 + shift, 0.3) / TO_FIVE[d] for d in METRICS}
            for i in range(prompts)
            for k in range(replicates)
        }
    )


def two_arms(original: pd.DataFrame, boosted: pd.DataFrame) -> list[Arm]:
    return [Arm("mini", "test", "original", original), Arm("mini", "test", "dpo-2", boosted)]


def test_cells_match_plain_sums() -> None:
    original, boosted = random_scores(1), random_scores(2, shift=0.2)
    table = videoscore_table(two_arms(original, boosted), FAST)
    assert list(table.columns) == list(COLUMNS)
    assert ",".join(table.columns) == (
        "generator,set,refiner,videos,VQ,TC,DD,TVA,FC,avg,AES,MPS,"
        "avg_ci_low,avg_ci_high,gain,gain_ci_low,gain_ci_high,p_value,words"
    )
    averages = []
    for scores, row in zip((original, boosted), table.to_dict("records"), strict=True):
        assert row["videos"] == 24
        for name in FIRST_FIVE:
            assert row[name] == pytest.approx(fmean(scores[name]))
        assert row["AES"] == pytest.approx(fmean(scores["AES"]) * 5 / 8)
        assert row["MPS"] == pytest.approx(fmean(scores["MPS"]) / 4)
        averages.append(fmean(fmean(scores[d]) for d in FIRST_FIVE))
        assert row["avg"] == pytest.approx(averages[-1])
        assert row["avg_ci_low"] < row["avg"] < row["avg_ci_high"]
    assert table["gain"][1] == pytest.approx(averages[1] - averages[0])
    assert table.loc[0, ["gain", "gain_ci_low", "gain_ci_high", "p_value"]].isna().all()


def test_every_prompt_counts_once_whatever_its_replicates() -> None:
    level = dict.fromkeys(METRICS, 1.0)
    scores = make_scores({("a", 0): level, ("a", 1): level, ("a", 2): level, ("b", 0): dict.fromkeys(METRICS, 3.0)})
    row = videoscore_table([Arm("g", "s", "original", scores)], FAST).iloc[0]
    assert (row["videos"], row["avg"]) == (4, 2.0)


@pytest.mark.parametrize("method", ["BCa", "percentile"])
def test_interval_is_near_the_t_interval_of_many_normal_values(method: str) -> None:
    values = np.random.default_rng(3).normal(0.1, 0.4, 300)
    low, high = bootstrap_interval(values, BootstrapConfig(resamples=4999, method=method), "x")  # type: ignore[arg-type]
    expected = stats.t.interval(0.95, 299, values.mean(), stats.sem(values))
    assert (low, high) == pytest.approx(expected, abs=0.006)


def test_p_value_is_exact_for_few_prompts() -> None:
    differences = np.array([0.3, -0.1, 0.25, 0.4, 0.05, -0.2, 0.15, 0.3])
    null = [np.mean(differences * signs) for signs in itertools.product((-1, 1), repeat=8)]
    expected = np.mean(np.abs(null) >= abs(differences.mean()) - 1e-12)
    assert paired_p_value(differences, BootstrapConfig(), "x") == pytest.approx(expected)


def test_gain_interval_covers_a_known_truth() -> None:
    truth, rounds, covered = 0.15, 100, 0
    for index in range(rounds):
        rng = np.random.default_rng(index)
        level = rng.normal(2.5, 0.5, 30)  # prompts differ more than refiners do
        original = flat_scores((level + rng.normal(0, 0.2, 30)).tolist())
        boosted = flat_scores((level + truth + rng.normal(0, 0.2, 30)).tolist())
        row = videoscore_table(two_arms(original, boosted), BootstrapConfig(resamples=299)).iloc[1]
        covered += row["gain_ci_low"] <= truth <= row["gain_ci_high"]
        assert row["gain_ci_high"] - row["gain_ci_low"] < 0.35  # pairing removes the prompts' own spread
    assert 0.89 <= covered / rounds <= 0.99


def test_p_values_are_small_as_often_as_they_should_be() -> None:
    rng = np.random.default_rng(0)
    p_values = [paired_p_value(rng.normal(0, 1, 25), FAST, str(index)) for index in range(300)]
    assert 0.02 <= np.mean(np.array(p_values) <= 0.05) <= 0.09


def test_a_row_does_not_depend_on_order_or_company() -> None:
    arms = [*two_arms(random_scores(1), random_scores(2)), Arm("mini", "other", "original", random_scores(4))]
    table = videoscore_table(arms, FAST)
    shuffled = [Arm(a.generator, a.set, a.refiner, a.scores.sample(frac=1, random_state=5)) for a in arms]
    pd.testing.assert_frame_equal(videoscore_table(shuffled, FAST), table, check_exact=True)
    reverse = videoscore_table(arms[::-1], FAST)
    pd.testing.assert_frame_equal(reverse[::-1].reset_index(drop=True), table, check_exact=True)
    assert list(reverse["set"]) == ["other", "test", "test"]


def test_equal_rows_have_equal_intervals_whatever_their_names() -> None:
    original, boosted = random_scores(1), random_scores(2)
    arms = [
        Arm(generator, "test", refiner, original if refiner == "original" else boosted)
        for generator in ("mini", "other")
        for refiner in ("original", "sft", "dpo-2")
    ]
    cells = videoscore_table(arms, FAST).drop(columns=["generator", "refiner"])
    for row in (2, 4, 5):
        assert cells.loc[row].equals(cells.loc[1])
    assert cells.loc[3].equals(cells.loc[0])
    # What is measured of the same prompts is resampled alike: a constant shift moves the ends by itself.
    shifted = videoscore_table([Arm("mini", "test", "sft", flat_scores([2.0, 3.0, 2.5, 2.75, 2.25]))], FAST).iloc[0]
    level = videoscore_table([Arm("mini", "test", "sft", flat_scores([1.0, 2.0, 1.5, 1.75, 1.25]))], FAST).iloc[0]
    assert shifted["avg_ci_low"] - level["avg_ci_low"] == pytest.approx(1)
    assert shifted["avg_ci_high"] - level["avg_ci_high"] == pytest.approx(1)


def test_the_seed_moves_the_intervals_only() -> None:
    arms = two_arms(random_scores(1), random_scores(2))
    one, two = (videoscore_table(arms, BootstrapConfig(resamples=499, seed=seed)) for seed in (1, 2))
    assert one["gain"].equals(two["gain"])
    assert one["gain_ci_low"][1] != two["gain_ci_low"][1]


@pytest.mark.parametrize("prompts", [1, 2, 5])
def test_constant_differences_have_an_empty_interval(prompts: int) -> None:
    levels = [2.0, 2.7, 3.1, 1.9, 2.2][:prompts]
    row = videoscore_table(two_arms(flat_scores(levels), flat_scores([v + 0.1 for v in levels])), FAST).iloc[1]
    assert row["gain"] == pytest.approx(0.1)
    assert row[["gain_ci_low", "gain_ci_high"]].isna().all()
    assert np.isnan(row["p_value"]) == (prompts == 1)


def test_no_gain_without_an_original() -> None:
    table = videoscore_table([Arm("g", "s", "dpo-2", random_scores(1))], FAST)
    assert table[["gain", "gain_ci_low", "gain_ci_high", "p_value"]].isna().all(axis=None)
    assert videoscore_table([], FAST).columns.tolist() == list(COLUMNS)


def test_an_arm_that_lacks_videos_is_named() -> None:
    full = random_scores(1)
    without_prompts = full[~full["prompt_id"].isin(["p004", "p009"])]
    with pytest.raises(InputError, match=r"mini/test/dpo-2 lacks 4 videos.*p004 replicate 0"):
        videoscore_table(two_arms(full, without_prompts), FAST)
    without_replicate = full[~((full["prompt_id"] == "p007") & (full["replicate"] == 1))]
    with pytest.raises(InputError, match=r"mini/test/dpo-2 lacks 1 videos.*p007 replicate 1"):
        videoscore_table(two_arms(full, without_replicate), FAST)
    with pytest.raises(InputError, match=r"mini/test/original lacks 4 videos that mini/test/dpo-2 has"):
        videoscore_table(two_arms(without_prompts, full), FAST)


def test_unusable_arms_are_refused() -> None:
    scores = random_scores(1)
    with pytest.raises(ScoreError, match=r"g/s/sft.*p003"):
        broken = scores.assign(TC_5=scores["TC_5"].mask(scores["prompt_id"] == "p003", np.inf))
        videoscore_table([Arm("g", "s", "sft", broken)], FAST)


def test_paper_rows_stand_below_ours_as_printed() -> None:
    ours = videoscore_table(two_arms(random_scores(1), random_scores(2)), FAST)
    table = with_paper_rows(ours, PAPER)
    assert list(table.columns) == list(COLUMNS)
    pd.testing.assert_frame_equal(table[:2], ours)
    paper = table[2:]
    assert set(paper["set"]) == {"paper"}
    assert paper["generator"].tolist() == ["Open-Sora 1.2"] * 3 + ["CogVideoX"] * 3
    assert paper["refiner"].tolist() == ["original", "gpt-4o", "dpo-2", "original", "glm-4", "dpo-2"]
    assert paper["avg"].tolist() == [3.116, 3.079, 3.318, 2.989, 2.996, 3.056]
    assert paper.iloc[2][list(FIRST_FIVE)].tolist() == [3.254, 3.286, 3.411, 3.358, 3.282]
    unpublished = ["videos", "AES", "MPS", "avg_ci_low", "avg_ci_high", "gain", "gain_ci_low", "gain_ci_high"]
    assert paper[[*unpublished, "p_value"]].isna().all(axis=None)


def test_paper_rows_refuse_bad_input(tmp_path: Path) -> None:
    ours = videoscore_table([Arm("g", "s", "original", random_scores(1))], FAST)
    with pytest.raises(InputError, match=r"table1_videoscore\.csv.*cannot be read"):
        with_paper_rows(ours, tmp_path)
    (tmp_path / "table1_videoscore.csv").write_text("generator,refiner,VQ\nx,original,1\n")
    with pytest.raises(InputError, match="lacks the columns TC, DD, TVA, FC, avg"):
        with_paper_rows(ours, tmp_path)
    with pytest.raises(InputError, match="rename the set"):
        with_paper_rows(ours.assign(set="paper"), PAPER)


def test_footnotes_say_whose_numbers_they_are() -> None:
    ours = videoscore_table([Arm("g", "s", "original", random_scores(1))], FAST)
    both = with_paper_rows(ours, PAPER)
    assert PAPER_NOTE in footnotes(both, "paper") and LAPTOP_NOTE not in footnotes(both, "paper")
    assert PAPER_NOTE in footnotes(both, "laptop") and LAPTOP_NOTE in footnotes(both, "laptop")
    assert PAPER_NOTE not in footnotes(ours, "laptop")
    assert footnotes(ours, "paper", ["On an H100."])[1:] == ["On an H100."]


def test_files_carry_the_numbers(tmp_path: Path) -> None:
    table = with_paper_rows(videoscore_table(two_arms(random_scores(1), random_scores(2)), FAST), PAPER)
    write(table, tmp_path / "video.score", "A title", footnotes(table, "laptop"))
    names = [path.name.removeprefix("video.score") for path in sorted(tmp_path.iterdir())]
    assert names == [".csv", ".md", ".notes.json", ".tex"]
    again = pd.read_csv(tmp_path / "video.score.csv")
    assert list(again.columns) == list(COLUMNS)
    np.testing.assert_allclose(again["gain"], table["gain"], rtol=1e-9)
    assert again["videos"].isna().tolist() == [False] * 2 + [True] * 6

    markdown = (tmp_path / "video.score.md").read_text()
    lines = [line for line in markdown.splitlines() if line.startswith("|")]
    assert len(lines) == 2 + len(table)
    cells = [cell.strip() for cell in lines[3].strip("|").split("|")]
    assert cells[:4] == ["mini", "test", "dpo-2", "24"]
    assert cells[14] == f"{table['gain'][1]:.3f}"
    paper_cells = [cell.strip() for cell in lines[6].strip("|").split("|")]
    assert (
        paper_cells
        == ["Open-Sora 1.2", "paper", "dpo-2", "", "3.254", "3.286", "3.411", "3.358", "3.282", "3.318"] + [""] * 9
    )

    write(table, tmp_path / "video.score", "A title", ["a note"], ["generator", "videos", "avg"])
    title, part, notes = read(tmp_path / "video.score")
    assert (title, notes, list(part)) == ("A title", ["a note"], ["generator", "videos", "avg"])
    assert part["avg"].tolist() == pytest.approx(table["avg"].tolist())
    assert "p_value" not in (tmp_path / "video.score.md").read_text()
    write(table, tmp_path / "video.score", "A title", footnotes(table, "laptop"))

    latex = (tmp_path / "video.score.tex").read_text()
    assert r"\toprule" in latex and r"\bottomrule" in latex and r"\caption{A title}" in latex
    assert f"{table['avg'][0]:.3f}" in latex and r"p\_value" in latex
    for text in (markdown, latex):
        assert "arXiv 2412.15156" in text and "laptop-scale" in text


def test_a_written_table_is_read_back_with_its_types(tmp_path: Path) -> None:
    arms = [Arm("1.20", "null", "original", random_scores(1))]  # names that pandas would take for numbers or gaps
    table = with_paper_rows(videoscore_table(arms, FAST), PAPER)
    write(table, tmp_path / "t", "t", [])
    pd.testing.assert_frame_equal(read_videoscore_table(tmp_path / "t.csv"), table)
    (tmp_path / "t.csv").write_text("generator,set\na,b\n")
    with pytest.raises(InputError, match=r"t\.csv.*it lacks avg, avg_ci_high, .*, refiner, videos"):
        read_videoscore_table(tmp_path / "t.csv")
    (tmp_path / "t.csv").write_text(",".join(COLUMNS) + "\n" + "x," * 17 + "x\n")
    with pytest.raises(InputError, match="is no VideoScore table"):
        read_videoscore_table(tmp_path / "t.csv")


KEEP, CLIP = Metric("KEEP", 0, 1, medium="text"), Metric("CLIP", -1, 1, 5.0)
REPORTED = Columns(PAPER_COLUMNS.objective, PAPER_COLUMNS.average, [KEEP, CLIP])


def reported_arms() -> list[Arm]:
    """Twelve prompts with two replicates: what is kept falls by 0.5 - 0.02 a prompt, and CLIP rises by 0.1."""
    original, boosted = random_scores(1), random_scores(2, shift=0.2)
    place = original["prompt_id"].str[1:].astype(int)
    spread = original["replicate"] * 0.2  # both have it, so it is in no gain
    first = original.assign(KEEP=1.0, CLIP=0.1 * place / 12 + spread)
    return two_arms(first, boosted.assign(KEEP=0.5 + 0.02 * place, CLIP=first["CLIP"] + 0.1))


def test_reported_metrics_stand_raw_behind_the_others_with_gains_and_intervals() -> None:
    arms = reported_arms()
    table = videoscore_table(arms, FAST, REPORTED)
    assert ",".join(table.columns) == (
        "generator,set,refiner,videos,VQ,TC,DD,TVA,FC,avg,AES,MPS,"
        "avg_ci_low,avg_ci_high,gain,gain_ci_low,gain_ci_high,p_value,"
        "KEEP,KEEP_gain,KEEP_gain_ci_low,KEEP_gain_ci_high,CLIP,CLIP_gain,CLIP_gain_ci_low,CLIP_gain_ci_high,words"
    )
    pd.testing.assert_frame_equal(table[list(COLUMNS)], videoscore_table(arms, FAST), check_exact=True)
    original, boosted = table.to_dict("records")
    assert all(np.isnan(original[name]) for name in table if "_gain" in str(name))
    assert (original["KEEP"], original["CLIP"]) == pytest.approx((1.0, 0.1 * 5.5 / 12 + 0.1))
    assert (boosted["KEEP"], boosted["KEEP_gain"]) == pytest.approx((0.61, -0.39))
    assert boosted["CLIP_gain"] == pytest.approx(0.1)
    gains = np.array([-0.5 + 0.02 * place for place in range(12)])
    interval = (boosted["KEEP_gain_ci_low"], boosted["KEEP_gain_ci_high"])
    assert interval == pytest.approx(bootstrap_interval(gains, FAST, "test"))
    t = stats.t.interval(0.95, 11, gains.mean(), stats.sem(gains))
    assert interval == pytest.approx(t, abs=0.015) and interval[0] < -0.39 < interval[1]
    assert np.isnan(boosted["CLIP_gain_ci_low"]), "every prompt gains the same, so there is no interval"


def test_reported_metrics_are_written_and_read_back(tmp_path: Path) -> None:
    table = with_paper_rows(videoscore_table(reported_arms(), FAST, REPORTED), PAPER)
    assert table.loc[2:, list(REPORTED.gains)].isna().all(axis=None), "nobody printed them"
    write(table, tmp_path / "t", "A title", footnotes(table, "laptop", columns=REPORTED))
    pd.testing.assert_frame_equal(read_videoscore_table(tmp_path / "t.csv"), table, rtol=1e-9)
    cells = pd.read_csv(tmp_path / "t.csv", dtype=str).loc[1]
    assert cells["KEEP"] == "0.61" and float(cells["KEEP_gain"]) == pytest.approx(-0.39)
    rows = [line for line in (tmp_path / "t.md").read_text().splitlines() if line.startswith("|")]
    assert [cell.strip() for cell in rows[3].strip("|").split("|")][18:20] == ["0.610", "-0.390"]
    note = "Nobody selected by or trained on KEEP (0 to 1) and CLIP (-1 to 1), each in its own range"
    assert note in (tmp_path / "t.md").read_text()
    assert not any("Nobody selected" in line for line in footnotes(table, "laptop"))


def test_a_reported_metric_that_is_not_finite_is_refused() -> None:
    original, boosted = reported_arms()
    broken = boosted.scores.assign(KEEP=boosted.scores["KEEP"].mask(boosted.scores["prompt_id"] == "p003"))
    with pytest.raises(ScoreError, match=r"mini/test/dpo-2.*p003"):
        videoscore_table([original, Arm("mini", "test", "dpo-2", broken)], FAST, REPORTED)


def test_a_judge_that_looks_at_one_set_alone_leaves_its_cells_of_another_empty(tmp_path: Path) -> None:
    arms = reported_arms()
    others = [Arm("mini", "more", arm.refiner, arm.scores.drop(columns="KEEP")) for arm in arms]
    table = videoscore_table([*arms, *others], FAST, REPORTED)
    assert table.loc[2:, [name for name in table if str(name).startswith("KEEP")]].isna().all(axis=None)
    pd.testing.assert_frame_equal(table[:2], videoscore_table(arms, FAST, REPORTED), check_exact=True)
    assert table.loc[3, "CLIP_gain"] == pytest.approx(0.1)
    held_out(table, tmp_path / "held_out.png")
    assert (tmp_path / "held_out.png").stat().st_size > 0


def test_another_objective_has_its_own_columns_and_average() -> None:
    columns = Columns([Metric("A"), Metric("B", 0, 10, 0.5), Metric("C")], ["C", "B"])
    scores = pd.DataFrame(
        {"prompt_id": ["p", "q"], "candidate": 0, "replicate": 0, "refined": ["one", "two words, red"]}
    )
    scores = scores.assign(A_5=[1.0, 3.0], B_5=[2.0, 4.0], C_5=[5.0, 1.0])
    row = videoscore_table([Arm("g", "s", "original", scores)], FAST, columns).iloc[0]
    assert list(row.index[3:8]) == ["videos", "C", "B", "avg", "A"]
    assert row[["C", "B", "avg", "A", "words"]].tolist() == [3.0, 3.0, 3.0, 2.0, 2.0]
    table = videoscore_table([Arm("g", "s", "original", scores)], FAST, columns)
    assert "avg is the mean of C and B." in footnotes(table, "paper", columns=columns)[0]


def unescape_markdown(text: str) -> str:
    text = re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", text)
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


def unescape_latex(text: str) -> str:
    names = {"textbackslash": "\\", "textasciitilde": "~", "textasciicircum": "^"}
    names |= {"textless": "<", "textgreater": ">", "textbar": "|"}
    plain = re.sub(r"\\([%&#$_{}])|\\([a-z]+)\{\}|\{([\[*])\}", lambda m: m[1] or m[3] or names[m[2]], text)
    assert not re.search(r"[\\%&#$_{}~^]", re.sub(r"\\[%&#$_{}]|\\[a-z]+\{\}|\{[\[*]\}", "", text))
    return plain


def test_hostile_text_survives_every_format(tmp_path: Path) -> None:
    table = pd.DataFrame({"prompt": HOSTILE, "a_b|$c$": np.arange(len(HOSTILE)) / 7 - 0.5})
    write(table, tmp_path / "bad", HOSTILE[0], HOSTILE)
    shown = [" ".join(text.split()) for text in HOSTILE]
    assert pd.read_csv(tmp_path / "bad.csv")["prompt"].tolist() == HOSTILE

    markdown = (tmp_path / "bad.md").read_text()
    assert "<script" not in markdown and not re.search(r"(?<!\\)\$", markdown)
    rows = [line for line in markdown.splitlines() if line.startswith("|")]
    parts = [re.split(r"(?<!\\)(?:\\\\)*\|", row) for row in rows]
    assert {len(part) for part in parts} == {4}
    assert [unescape_markdown(part[1].strip()) for part in parts[2:]] == shown

    latex = (tmp_path / "bad.tex").read_text()
    assert "\\input" not in latex
    body = latex.split("\\midrule\n")[1].split("\n\\bottomrule")[0].splitlines()
    cells = [line.removesuffix(" \\\\").rsplit(" & ", 1) for line in body]
    assert [unescape_latex(cell[0]) for cell in cells] == shown
    assert cells[0][1] == r"\textminus{}0.500"
    assert not any(cell[0].startswith(("[", "*")) for cell in cells)


def test_an_empty_table_is_written(tmp_path: Path) -> None:
    write(videoscore_table([], FAST), tmp_path / "none", "Nothing", [])
    assert "| generator" in (tmp_path / "none.md").read_text()
    assert (tmp_path / "none.csv").read_text() == ",".join(COLUMNS) + "\n"


def test_provenance_has_an_entry_for_each_row(tmp_path: Path) -> None:
    table = pd.DataFrame({"prompt": ["a\n\nb", "c"]})
    stem = tmp_path / "table"
    write(table, stem, "t", [])
    rows = [{"scores": "x.parquet", "sha256": "ab"}, {"scores": "y.parquet"}]
    write_provenance(stem, rows)
    assert json.loads((tmp_path / "table.provenance.json").read_text()) == rows
