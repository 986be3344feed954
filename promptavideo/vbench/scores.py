"""VBench's results of a batch, put together from its jobs and checked against what was to be judged."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict

import pandas as pd

from promptavideo.errors import InputError, ScoreError
from promptavideo.vbench.evaluate import Result, average_of
from promptavideo.vbench.listing import Listing


def join(listing: Listing, dimensions: Iterable[str], results: Sequence[Result]) -> pd.DataFrame:
    """One row for each video and dimension that was to be judged.

    Args:
        listing: Every video of the evaluation.
        dimensions: Those that the set is judged for.
        results: What the jobs found, in any order.

    Returns:
        A `schemas.VBENCH_SCORES` table.

    Raises:
        InputError: A result is of another video, is missing or stands there twice.
        ScoreError: No video could be judged for a dimension.
    """
    rows = []
    for dimension in dimensions:
        judged = [one for result in results if result.dimension == dimension for one in result.judged]
        wanted = [(video.row, video.replicate, video.key) for video in listing.of(dimension)]
        found = sorted((one.row, one.replicate, one.key) for one in judged)
        if found != sorted(wanted):
            raise InputError(
                f"{dimension}: {len(found)} results for {len(wanted)} videos, and not one each; delete the folder "
                f"{dimension}/ of this evaluation and run again"
            )
        if average_of(judged) is None:
            raise ScoreError(
                f"{dimension}: VBench found nothing to judge in any of {len(wanted)} videos; look at some of them, and "
                "leave the dimension out if that is right"
            )
        rows += [
            {"dimension": dimension, **asdict(one)} for one in sorted(judged, key=lambda one: (one.row, one.replicate))
        ]
    return pd.DataFrame(rows).astype({"value": float, "dimension": "str", "prompt_id": "str", "key": "str"})
