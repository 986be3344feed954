"""Whether two workspaces hold the same results: texts, videos, metrics and tables, whatever their shards."""

from pathlib import Path

import pandas as pd

from promptavideo.errors import InputError
from promptavideo.store import read_manifest

KEY = ["prompt_id", "candidate", "replicate"]


def compare(one: Path, other: Path) -> list[str]:
    """Compare what both workspaces hold; each line names one kind of thing, how many there are and how many differ.

    Args:
        one: A workspace; may be of version 0.1, whose scores lie in the batch's folder itself.
        other: Another one.

    Raises:
        InputError: They have no batch in common.
    """
    batches = sorted(path.parent.relative_to(one) for path in one.glob("results/**/prompts.parquet"))
    batches = [batch for batch in batches if (other / batch / "prompts.parquet").exists()]
    if not batches:
        raise InputError(f"{one} and {other} have no batch in common")
    lines = [f"{len(batches)} batches"]
    texts = [_differing(_texts(one / batch), _texts(other / batch)) for batch in batches]
    videos = [_differing(_videos(one / batch), _videos(other / batch)) for batch in batches]
    scores = [_differing(*map(_scores, (one / batch, other / batch))) for batch in batches]
    for what, found in (("texts", texts), ("videos (keys and files)", videos), ("rows of scores", scores)):
        count, differ = sum(number for number, _ in found), sum(number for _, number in found)
        lines.append(f"{count} {what}, {differ} differ")
    for table in sorted(one.glob("results/**/tables/*.csv")):
        if (mirror := other / table.relative_to(one)).exists():
            lines.append(f"{table.relative_to(one)}: {_cells(pd.read_csv(table), pd.read_csv(mirror))}")
    return lines


def _texts(batch: Path) -> dict[tuple[object, ...], object]:
    table = pd.read_parquet(batch / "prompts.parquet")
    return {tuple(row[:-1]): row[-1] for row in table[[*KEY, "prompt", "seed", "refined"]].itertuples(index=False)}


def _videos(batch: Path) -> dict[tuple[object, ...], object]:
    entries = [entry for path in sorted(batch.glob("videos/*.jsonl")) for entry in read_manifest(path)]
    return {(one.prompt_id, one.candidate, one.replicate): (one.key, one.sha256) for one in entries}


def _scores(batch: Path) -> dict[tuple[object, ...], object]:
    found = [path for path in (batch / "rewards/scores.parquet", batch / "scores.parquet") if path.exists()]
    if not found:
        return {}
    table = pd.read_parquet(found[0])
    metrics = [name for name in map(str, table) if name.endswith("_5")]
    return {tuple(row[:3]): tuple(row[3:]) for row in table[[*KEY, *metrics]].itertuples(index=False)}


def _differing(one: dict[tuple[object, ...], object], other: dict[tuple[object, ...], object]) -> tuple[int, int]:
    """How many there are in either, and how many are not the same in both."""
    keys = one.keys() | other.keys()
    return len(keys), sum(one.get(key) != other.get(key) for key in keys)


def _cells(one: pd.DataFrame, other: pd.DataFrame) -> str:
    shared = [name for name in one if name in other]
    left, right = (_by_name(table)[shared] for table in (one, other))
    rows = left.index.intersection(right.index)
    same = left.loc[rows].eq(right.loc[rows]) | (left.loc[rows].isna() & right.loc[rows].isna())
    more = [f"{name} is in one only" for name in (*one, *other) if (name in one) != (name in other)]
    more += [f"{abs(len(left) - len(right))} rows are in one only"] if len(left) != len(right) else []
    return "; ".join([f"{same.size} cells, {int((~same).to_numpy().sum())} differ", *more])


def _by_name(table: pd.DataFrame) -> pd.DataFrame:
    names = [name for name in ("generator", "set", "refiner", "source") if name in table]
    return table.set_index(pd.MultiIndex.from_frame(table[names].fillna("")))
