"""The demo without a browser: what it answers, what it refuses, and where it may be asked from."""

import re
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest
import yaml
from makers import ROOT, diffusers_config
from tiny_pipelines import LTX_SAMPLING, tiny_ltx
from use_boosters import finished_run, study_at

from promptavideo.errors import InputError, UsageError
from promptavideo.prompts import prompt_id
from promptavideo.seeds import video_seed
from promptavideo.use import demo, source, workspace
from promptavideo.use.boost import Boost, Boosted, Variant
from promptavideo.use.desk import Desk, boosters
from promptavideo.use.main import main
from promptavideo.video import read_video

PROMPT = "a red ball moving left on a blue background"
NAMES = ["mini-t2v/sft", "mini-t2v/dpo-2"]
HOSTILE = 'a <b>ball</b> <img src=x onerror=alert(1)> \u202e{{ 7 * 7 }} ${7 * 7} "quoted" & more'
REWARDS = ["VQ", "TC", "DD", "TVA", "FC", "AES", "MPS"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run that has a held-out judge, and a second generator, of another world."""
    folder = finished_run(tmp_path_factory.mktemp("demo") / "run")
    tiny_ltx(folder / "tests/tiny-ltx")
    entry = diffusers_config(pipeline="LTXPipeline", model="tiny-ltx", sampling=LTX_SAMPLING).model_dump(mode="json")
    (folder / "resources/witness").symlink_to(ROOT / "resources/witness")
    own = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))
    study_at(
        folder,
        {
            "models": {"tiny-ltx": {"kind": "local", "path": "tests/tiny-ltx"}, "witness": own["models"]["witness"]},
            "judges": {"witness": own["judges"]["witness"]},
            "generators": {"real-footage": {key: entry[key] for key in entry if entry[key] is not None}},
        },
    )
    return folder


def desk_of(run: Path, folder: Path, generator: str = "mini-t2v", loaded: int = 3) -> Desk:
    study = workspace.study_in(run)
    return Desk(study, generator, boosters(study, generator), folder, loaded)


@pytest.fixture(scope="module")
def desk(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Desk:
    return desk_of(run, tmp_path_factory.mktemp("copies"))


def asked(desk: Desk, prompt: str, names: list[str], seed: float | None = 3, locked: bool = True) -> list[str]:
    """The states of the page after a click."""
    return [html for html, _ in demo.answers(desk, prompt, names, seed, locked)]


def test_the_boosters_of_a_run_are_offered_and_others_where_a_user_names_them(run: Path) -> None:
    study = workspace.study_in(run)
    assert [*boosters(study, "mini-t2v")] == ["mini-t2v/sft", "mini-t2v/dpo-1", "mini-t2v/dpo-2"]
    named = boosters(study, "mini-t2v", [str(run / "results/mini-t2v/boosters/dpo-1")])
    assert [*named] == ["mini-t2v/dpo-1"] and named["mini-t2v/dpo-1"]().name == "mini-t2v/dpo-1"
    with pytest.raises(InputError, match="--booster no/such"):
        boosters(study, "mini-t2v", ["no/such"])


def test_boosters_of_another_generator_come_before_its_own(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = workspace.study_in(run)
    theirs = [SimpleNamespace(known_as=f"real-footage/{name}", tracks=["real-footage"]) for name in ("sft", "dpo-1")]
    own = {"mini-t2v": source.trained(study, "mini-t2v"), "real-footage": theirs}
    monkeypatch.setattr("promptavideo.use.source.trained", lambda _, track: own[track])
    ours = ["mini-t2v/sft", "mini-t2v/dpo-1", "mini-t2v/dpo-2"]
    assert [*boosters(study, "mini-t2v")] == ["real-footage/sft", "real-footage/dpo-1", *ours]
    assert [*boosters(study, "real-footage")] == [*ours, "real-footage/sft", "real-footage/dpo-1"]


def test_each_booster_has_a_column_beside_the_original_prompt(desk: Desk, run: Path) -> None:
    boosted = desk.write(PROMPT, NAMES, 3)
    look = desk.look(boosted, 3)
    answer = desk.filmed(look, NAMES, 3)
    assert [column.title for column in answer.columns] == ["original", *NAMES] and look.seed == video_seed(
        3, prompt_id(PROMPT), 0
    )
    for name, column in zip(NAMES, answer.columns[1:], strict=True):
        found = source.find(str(run / "results" / name.replace("/", "/boosters/")))
        (alone,) = Boost(found, 3, rows=1).write([PROMPT])
        assert "".join(piece for piece, _ in column.text) == alone.variants[0].text
    original, *others = answer.columns
    assert [added for _, added in original.text] == [False] and any(added for _, added in others[0].text)
    names = [score.name for score in original.scores]
    assert names == ["avg", *REWARDS, "AGREE", "REAL"]
    assert [score.held_out for score in original.scores] == [False] * 8 + [True] * 2
    assert original.scores[0].value == pytest.approx(sum(score.value for score in original.scores[1:6]) / 5)
    for column in others:
        for own, reference in zip(column.scores, original.scores, strict=True):
            assert own.difference == pytest.approx(own.value - reference.value) and reference.difference is None
    for column in answer.columns:
        assert column.video and column.video.parent == desk.folder
        assert min(read_video(column.video).frames.shape[1:3]) >= 256


def test_texts_come_first_and_then_the_videos(desk: Desk) -> None:
    written, filmed = asked(desk, PROMPT, NAMES)
    assert 'data-state="written"' in written and "<video" not in written and "<table>" not in written
    assert 'data-state="filmed"' in filmed and filmed.count("<video") == filmed.count("<table>") == 3
    assert "<mark>" in written and "AGREE (held out)" in filmed and "Seed 3." in filmed


def test_a_locked_seed_gives_the_same_answer_and_an_open_one_another(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def videos(html: str) -> list[str]:
        return re.findall(r'data-file="([^"]+)"', html)

    first, again = (asked(desk, PROMPT, NAMES[:1], 5)[-1] for _ in range(2))
    assert first == again
    monkeypatch.setattr("random.randint", lambda *_: 77)
    (_, _), (html, seed) = demo.answers(desk, PROMPT, NAMES[:1], 5, False)
    assert seed == 77 and "Seed 77." in html and not {*videos(html)} & {*videos(first)}
    assert "Seed 77." in asked(desk, PROMPT, NAMES[:1], None)[-1], "an empty field is no seed"


@pytest.mark.parametrize(
    ("prompt", "names", "seed", "said"),
    [
        ("  ", NAMES, 1, "the prompt is empty"),
        ("word " * 10_000, NAMES, 1, "words"),
        ("a ball\x07 moves", NAMES, 1, "control"),
        (PROMPT, [], 1, "choose a booster"),
        (PROMPT, ["mini-t2v/none"], 1, "there is no booster"),
        (PROMPT, NAMES, -1, "the seed must be from 0 to 2147483647"),
    ],
)
def test_what_cannot_be_meant_is_said(desk: Desk, prompt: str, names: list[str], seed: int, said: str) -> None:
    (html,) = asked(desk, prompt, names, seed)
    assert 'role="alert"' in html and said in html and "<video" not in html


def test_texts_are_shown_as_text(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        desk, "write", lambda prompt, *_: Boosted(prompt, prompt_id(prompt), (Variant("<script>alert(1)</script>"),))
    )
    html = re.sub(r"</?mark>", "", asked(desk, HOSTILE, NAMES[:1])[-1])
    assert not re.search(r"<(b|img|script)\b", html)
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html and "&lt;img src=x onerror=alert(1)&gt;" in html
    monkeypatch.setattr(desk, "write", lambda *_: (_ for _ in ()).throw(InputError("no: <b>x</b>")))
    assert asked(desk, PROMPT, NAMES) == ['<p class="demo-error" role="alert">no: &lt;b&gt;x&lt;/b&gt;</p>\n']


def test_memory_that_does_not_suffice_and_unforeseen_errors_leave_the_page_usable(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    for error, said in ((MemoryError(), "choose fewer boosters"), (ZeroDivisionError("by none"), "by none")):
        with monkeypatch.context() as patched:
            patched.setattr(desk, "look", lambda *_, error=error: (_ for _ in ()).throw(error))
            assert said in asked(desk, PROMPT, NAMES)[-1]
    assert 'data-state="filmed"' in asked(desk, PROMPT, NAMES)[-1]


def test_an_answer_that_is_no_prompt_is_said(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    variant = Variant(PROMPT, fault="it is <empty>")
    monkeypatch.setattr(desk, "write", lambda prompt, *_: Boosted(prompt, prompt_id(prompt), (variant,)))
    html = asked(desk, PROMPT, NAMES[:1])[-1]
    assert "no prompt (it is &lt;empty&gt;), so the prompt itself was filmed" in html


def test_without_judges_there_are_no_scores_and_the_page_says_why(run: Path, tmp_path: Path) -> None:
    html = asked(desk_of(run, tmp_path, "real-footage"), PROMPT, NAMES[:1])[-1]
    assert "the run&#39;s judges (pixels) understand the miniature&#39;s world only" in html and "<table>" not in html
    assert html.count("<video") == 2


def test_boosters_are_loaded_once_and_the_oldest_makes_room(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads: list[str] = []

    def counted(found: source.Source, rows: int) -> Boost:
        loads.append(found.name)
        return Boost(found, rows=rows)

    monkeypatch.setattr("promptavideo.use.desk.Boost", counted)
    desk = desk_of(run, tmp_path, loaded=2)
    desk.warm()
    assert loads == NAMES[1:]
    for name in (*NAMES, *NAMES):
        desk.write(PROMPT, [name], 1)
    assert loads == NAMES[::-1]
    desk.write(PROMPT, ["mini-t2v/dpo-1"], 1)
    desk.write(PROMPT, NAMES[1:], 1)
    assert loads == [*NAMES[::-1], "mini-t2v/dpo-1"], "the one that was asked last stays"
    with pytest.raises(UsageError, match="there is no booster 'x'"):
        desk.write(PROMPT, ["x"], 1)


def test_a_checkout_in_which_no_run_was_started_has_its_own_configuration(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"the demo: generators and judges are those of a run.*in a clone"):
        source.study_here("the demo")
    fresh = tmp_path / "clone"
    (fresh / "deep").mkdir(parents=True)
    for name in ("resources", "templates"):
        (fresh / name).symlink_to((run / name).resolve())
    raw = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))
    (fresh / "config.yaml").write_text(yaml.safe_dump(raw | {"seed": 41}))
    (fresh / "Snakefile").touch()
    monkeypatch.chdir(fresh / "deep")
    found = source.study_here("the demo")
    assert (found.config.seed, found.root, found.tracks) == (41, fresh, ["mini-t2v"])
    (fresh / "config.yaml").write_text("seed: nobody\n")
    with pytest.raises(InputError, match="seed"):
        source.study_here("the demo")


@pytest.fixture(scope="module")
def client(desk: Desk) -> Iterator[httpx.Client]:
    page = demo.start(desk)
    with httpx.Client(base_url=page.local_url) as opened:
        yield opened
    page.close(verbose=False)


def test_other_hosts_are_refused_and_every_answer_has_the_policy(client: httpx.Client) -> None:
    page = client.get("/")
    assert page.status_code == 200 and "connect-src 'self'" in page.headers["content-security-policy"]
    assert not re.findall(r'(?:src|href)="(?:https?:)?//(?!127\.0\.0\.1)[^"]*"', page.text)
    assert client.get("/", headers={"host": "evil.example"}).status_code == 400
    assert client.get("/", headers={"host": "localhost:7860"}).status_code == 200


def test_pages_of_other_sites_send_nothing_and_nothing_is_uploaded(client: httpx.Client) -> None:
    files = {"files": ("a.txt", b"some bytes")}
    refused = client.post("/gradio_api/upload", files=files, headers={"sec-fetch-site": "cross-site"})
    assert refused.status_code == 403 and "another site" in refused.text
    assert client.post("/gradio_api/upload", files=files).status_code == 413


def test_files_of_others_are_not_served(client: httpx.Client, run: Path) -> None:
    for path in (run / "config.yaml", Path("/etc/passwd"), run / "store"):
        assert client.get(f"/gradio_api/file={path}").status_code in (403, 404)


def test_the_command_says_what_is_wrong(
    run: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(run)
    assert main(["demo", "--port", "99999"]) == 2
    assert main(["demo", "--generator", "none"]) == 1
    assert "there is no generator 'none'" in capfd.readouterr().err
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["demo", "--port", str(port)]) == 1
    assert f"port {port} cannot be had" in capfd.readouterr().err
    monkeypatch.setitem(sys.modules, "gradio", None)
    assert main(["demo"]) == 1
    assert "the demo needs gradio: make demo, or pip install" in capfd.readouterr().err
