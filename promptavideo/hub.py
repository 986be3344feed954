"""The Hugging Face Hub: pinned revisions, the token, and its errors in words for people."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from promptavideo.errors import InputError, first_line

UNPINNED = "unpinned"
"""Stands for the newest commit at the time of the download, whose hash is then recorded."""


def _pinned(revision: str) -> str:
    if revision in ("main", "master", "HEAD"):
        raise ValueError(
            f"is a branch, which moves; give a commit hash or a tag, or {UNPINNED!r} to take the newest commit once"
        )
    return revision


RepoId = Annotated[str, Field(pattern=r"^[\w.-]+(/[\w.-]+)?$")]
Revision = Annotated[str, AfterValidator(_pinned), Field(min_length=1)]
"""Commit hash, tag or `unpinned`; branches are refused, because they move."""


def token() -> str | Literal[False]:
    """The token in HF_TOKEN; False means none, never the token of a stored login."""
    return os.environ.get("HF_TOKEN") or False


@contextmanager
def hub_errors(key: str, kind: Literal["model", "dataset"], repo_id: str, revision: str) -> Iterator[None]:
    """Turn what the Hub's client raises into an InputError.

    Args:
        key: The entry of the configuration that asks, such as `models.llama`.
        kind: What the repository holds.
        repo_id: Its name.
        revision: The revision asked for.
    """
    from huggingface_hub import errors

    where = f"{repo_id} at revision {revision}"
    state = "the token in HF_TOKEN has no access" if token() else "HF_TOKEN is not set"
    page = f"https://huggingface.co/{'datasets/' if kind == 'dataset' else ''}{repo_id}"
    try:
        with _answers():
            yield
    except errors.GatedRepoError as error:
        raise InputError(
            f"{key}: {repo_id} is gated and {state}; accept its terms at {page} and set HF_TOKEN to a token of that "
            "account"
        ) from error
    except (errors.RepositoryNotFoundError, errors.HFValidationError) as error:
        raise InputError(
            f"{key}.repo_id: the Hub has no {kind} {repo_id}, or it is private and {state}; check the name, or set "
            "HF_TOKEN"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise InputError(f"{key}.revision: {where} does not exist; give one of its commits or tags") from error
    except (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled, errors.DryRunError, ConnectionError) as error:
        raise InputError(
            f"{key}: the Hub cannot be reached to fetch {where} ({first_line(error.__cause__ or error)}); run again "
            f"with a network and without HF_HUB_OFFLINE, or make {key} a folder of yours (kind: local)"
        ) from error
    except (errors.HfHubHTTPError, errors.HTTPError) as error:
        raise InputError(
            f"{key}: the Hub did not give {where} ({first_line(error)}); run again, the download resumes"
        ) from error


@contextmanager
def _answers() -> Iterator[None]:
    """Raise what the Hub answered, where its client makes of that answer an error that speaks of the network."""
    from huggingface_hub import errors

    try:
        yield
    except (errors.LocalEntryNotFoundError, errors.DryRunError) as error:
        if isinstance(error.__cause__, errors.HfHubHTTPError):
            raise error.__cause__ from None
        raise
