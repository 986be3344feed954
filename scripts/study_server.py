"""Serve the user study that `snakemake study` made, and store the votes of raters."""

import logging
import os
import secrets
from argparse import Namespace
from pathlib import Path

from promptavideo import cli
from promptavideo.errors import InputError
from promptavideo.layout import Layout

parser = cli.parser(__doc__)
parser.add_argument("--host", default="127.0.0.1", help="where to listen; others than this machine need a token")
parser.add_argument("--port", type=int, default=8000)
parser.add_argument("--token-from-env", metavar="VARIABLE", help="take the token from there; else one is made")
parser.add_argument("--idle-hours", type=float, default=12.0, help="a rater who does nothing for so long has left")
parser.add_argument("--plan", type=Path, default=Path(Layout.study_plan))
parser.add_argument("--site", type=Path, default=Path(Layout.study_site))
parser.add_argument("--votes", type=Path, help="the folder of votes; the configuration's when absent")


def main(options: Namespace) -> None:
    """Check that all is there, and serve."""
    from promptavideo.rating import plan as plans
    from promptavideo.rating import server, site
    from promptavideo.rating.ballots import Ballots

    plan = plans.read(options.plan)
    site.check(plan, options.site)
    ballots = Ballots(votes_of(options), plan, options.idle_hours * 3600)
    apart = server.only_here(options.host) and options.token_from_env is None
    token = None if apart else token_of(options)
    link = f"http://{options.host}:{options.port}/{f'?token={token}' if token else ''}"
    logging.info("study %s, votes go to %s", plan.id, ballots.path)
    cli.say(f"Raters open {link}")
    try:
        server.serve(server.application(plan, options.site, ballots, token), options.host, options.port)
    finally:
        ballots.close()


def votes_of(options: Namespace) -> Path:
    """The folder of votes."""
    if options.votes:
        return Path(options.votes)
    given = cli.study(options).config.user_study
    if given is None:
        raise InputError("the configuration has no section user_study; name the folder by --votes")
    return Path(given.votes)


def token_of(options: Namespace) -> str:
    """What the link must hold."""
    if options.token_from_env is None:
        return secrets.token_urlsafe(24)
    token = os.environ.get(options.token_from_env, "")
    if len(token) < 16:
        raise InputError(f"{options.token_from_env}: the variable must hold a token of 16 characters at least")
    return token


if __name__ == "__main__":
    cli.run(parser.parse_args(), main)
