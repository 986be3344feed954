"""The steps of VBench on our side: the list of videos that it judges, and its results put together."""

from pathlib import Path

from promptavideo.layout import Layout
from promptavideo.results import store_of
from promptavideo.schemas import PROMPTS, read_table
from promptavideo.store import read_manifest
from promptavideo.study import Study


def read_prompts(study: Study) -> None:
    """Read VBench's list of prompts out of its wheel: the whole, and the part of the paper's ablations."""
    from promptavideo.vbench.wheel import choose, read_list, write_rows

    vbench = study.config.vbench
    rows = read_list(vbench.version, vbench.sha256)
    write_rows(choose(rows, Path(vbench.subset)), Path(Layout.vbench_ablation))
    write_rows(rows, Path(Layout.vbench_rows))


def fetch_checkpoint(study: Study, name: str) -> None:
    """Put one of VBench's checkpoints on disk, verified."""
    from promptavideo.vbench.checkpoints import stage

    stage(name, study.vbench.checkpoints[name], Path(study.layout.vbench_cache), Path(study.layout.checkpoint(name)))


def list_videos(study: Study, track: str, name: str) -> None:
    """Check every video of an evaluation, link it under the name that VBench wants, and write the list last."""
    from promptavideo.vbench import videos
    from promptavideo.vbench.listing import write_listing
    from promptavideo.vbench.rows import read_rows

    batch, plan = study.batch(track, name), study.vbench
    files, settings = study.files(batch), plan.set_of(batch)
    listed = plan.list_of(settings)
    listing = videos.list_videos(
        read_table(Path(files.prompts), PROMPTS),
        {Path(path): read_manifest(Path(path)) for path in study.manifests(batch)},
        store_of(study, batch.generator),
        settings,
        read_rows(Path(listed[0])) if listed else None,
        f"list {name}",
    )
    videos.link_videos(listing, Path(files.listing).with_name("videos"))
    write_listing(listing, Path(files.listing))
