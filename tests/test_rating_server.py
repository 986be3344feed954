"""The server of a user study: every vote once, whatever is sent, and nothing but the study for whoever asks."""

import json
import socket
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from load_study import measure
from starlette.testclient import TestClient

from promptavideo.errors import InputError
from promptavideo.rating import ballots as ballots_module
from promptavideo.rating.ballots import Ballots, FullError
from promptavideo.rating.server import BODY, application, only_here
from studies import Made, Server, choosing, make_plan, make_study, serving, simulated_vote

RATER = "11111111-aaaa"


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return make_study(tmp_path_factory.mktemp("study"))


@pytest.fixture
def ballots(study: Made, tmp_path: Path) -> Iterator[Ballots]:
    found = Ballots(tmp_path, study.plan)
    yield found
    found.close()


@pytest.fixture
def client(study: Made, ballots: Ballots) -> TestClient:
    return TestClient(application(study.plan, study.site, ballots), base_url="http://127.0.0.1")


def post(client: TestClient, study: Made, path: str, **said: Any) -> Any:
    return client.post(f"/api/{path}", json={"plan": study.plan.id, "rater": RATER, **said})


def stored(ballots: Ballots) -> list[tuple[Any, ...]]:
    connection = sqlite3.connect(ballots.path)
    rows = connection.execute("SELECT vote, position, round, answer, milliseconds FROM votes ORDER BY rowid").fetchall()
    connection.close()
    return rows


def test_a_vote_that_is_sent_again_is_stored_once(client: TestClient, study: Made, ballots: Ballots) -> None:
    assert post(client, study, "join").json() == {"slot": 1, "answers": []}
    said = simulated_vote(study.plan, 1, 1, "left")
    for _ in range(3):
        assert post(client, study, "vote", **said).json() == {"stored": "left"}
    other_page = said | {"vote": "vote-of-another-page", "answer": "right"}
    assert post(client, study, "vote", **other_page).json() == {"stored": "left"}
    assert [row[0] for row in stored(ballots)] == [said["vote"]]
    assert post(client, study, "join").json()["answers"][0]["answer"] == "left"
    moved = said | simulated_vote(study.plan, 1, 2, "left") | {"vote": said["vote"]}
    assert post(client, study, "vote", **moved).status_code == 409


def test_an_answer_that_is_taken_back_stays_with_a_mark(client: TestClient, study: Made, ballots: Ballots) -> None:
    post(client, study, "join")
    said = simulated_vote(study.plan, 1, 1, "left")
    post(client, study, "vote", **said)
    assert post(client, study, "undo", vote=said["vote"]).status_code == 200
    assert post(client, study, "undo", vote=said["vote"]).status_code == 200
    again = said | {"vote": "another-vote", "round": 1, "answer": "both-poor"}
    assert post(client, study, "vote", **again).json() == {"stored": "both-poor"}
    answers = post(client, study, "join").json()["answers"]
    assert [(one["answer"], one["undone"]) for one in answers] == [("left", True), ("both-poor", False)]
    assert len(stored(ballots)) == 2
    assert post(client, study, "undo", vote="no-such-vote").status_code == 404


def test_what_is_not_in_the_plan_is_refused(client: TestClient, study: Made, ballots: Ballots) -> None:
    good = simulated_vote(study.plan, 1, 1, "left")
    assert post(client, study, "vote", **good).status_code == 403, "who has not joined"
    post(client, study, "join")
    refused = {
        409: [{"plan": make_plan(raters=2).id}, {"plan": ""}],
        403: [{"rater": "22222222-bbbb"}],
        422: [
            {"position": 0}, {"position": -1}, {"position": 10_000}, {"question": "other"}, {"answer": "middle"},
            {"left": good["right"], "right": good["left"]}, {"left": "../plan.json"},
        ],
        400: [
            {"rater": "x"}, {"rater": "' OR 1=1 --"}, {"position": "1"}, {"position": 1.5}, {"round": -1},
            {"vote": "x" * 65}, {"more": 1}, {"answer": None},
        ],
    }  # fmt: skip
    for status, changes in refused.items():
        for change in changes:
            answer = post(client, study, "vote", **good | change)
            assert answer.status_code == status and answer.json()["error"], (change, answer.text)
    assert client.post("/api/vote", content=b"{", headers={"content-type": "application/json"}).status_code == 400
    assert client.post("/api/vote", content=b"{}", headers={"content-type": "text/plain"}).status_code == 415
    assert client.get("/api/vote").status_code == 404
    assert stored(ballots) == []


@pytest.mark.parametrize(("given", "kept"), [(900, 900), (-5, None), (10**15, None), ("soon", None), (None, None)])
def test_a_clock_that_jumps_gives_no_time(
    given: object, kept: int | None, client: TestClient, study: Made, ballots: Ballots
) -> None:
    post(client, study, "join")
    post(client, study, "vote", **simulated_vote(study.plan, 1, 1, "left", milliseconds=given))
    assert [row[4] for row in stored(ballots)] == [kept]


def test_the_servers_clock_decides_nothing(study: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ballots = Ballots(tmp_path, study.plan)
    monkeypatch.setattr(ballots_module.time, "time", lambda: -1e12)
    assert [ballots.join(f"rater-{number}") for number in range(2)] == [1, 2]
    monkeypatch.setattr(ballots_module.time, "time", lambda: 1e12)
    assert ballots.join("rater-2") == 3
    with pytest.raises(FullError):
        ballots.join("rater-3")
    ballots.close()


def test_places_are_handed_out_in_order_and_a_spare_only_for_who_has_left(
    client: TestClient, study: Made, ballots: Ballots, monkeypatch: pytest.MonkeyPatch
) -> None:
    def join(rater: str) -> Any:
        return client.post("/api/join", json={"plan": study.plan.id, "rater": f"{rater}-of-some"})

    assert [join(f"rater-{number}").json()["slot"] for number in (1, 2, 1, 3)] == [1, 2, 1, 3]
    full = join("rater-4")
    assert full.status_code == 410 and "all the people that it needs" in full.json()["error"]
    now = time.monotonic()
    monkeypatch.setattr(ballots_module.time, "monotonic", lambda: now + ballots.idle_s - 60)
    assert join("rater-2").json()["slot"] == 2, "who comes back is active"
    monkeypatch.setattr(ballots_module.time, "monotonic", lambda: now + ballots.idle_s + 60)
    assert join("rater-4").json()["slot"] == 4
    assert join("rater-5").status_code == 410, "no spare is left"


def test_who_has_finished_keeps_the_place_however_long_ago(
    study: Made, ballots: Ballots, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(1, 4):
        rater = f"rater-{number}"
        slot = ballots.join(rater)
        for position in range(1, study.plan.steps(slot) + 1):
            said = simulated_vote(study.plan, slot, position, "left")
            ballots.vote(slot, ballots_module.Vote(rater=rater, **said))
    now = time.monotonic()
    monkeypatch.setattr(ballots_module.time, "monotonic", lambda: now + 10 * ballots.idle_s)
    with pytest.raises(FullError):
        ballots.join("rater-4")


def test_only_files_of_the_study_are_served(client: TestClient, study: Made) -> None:
    (study.site / "secret.txt").write_text("secret")
    video = f"/videos/{study.plan.files[0]}"
    assert client.get(video).content == (study.site / video[1:]).read_bytes()
    part = client.get(video, headers={"range": "bytes=0-9"})
    assert part.status_code == 206 and len(part.content) == 10
    for path in (
        "/secret.txt", "/plan.json", "/../plan.json", "/videos/../../plan.json", "/videos/%2e%2e/%2e%2e/plan.json",
        "/..%2fplan.json", "/videos/..%2f..%2fplan.json", "//etc/passwd", "/videos/", "/videos//etc/passwd", "/site/",
        "/%00", "/study.js/../../plan.json",
    ):  # fmt: skip
        assert client.get(path).status_code == 404, path


def test_every_answer_says_what_a_page_may_do(client: TestClient, study: Made) -> None:
    for path in ("/", "/study.js", f"/videos/{study.plan.files[0]}", "/nothing", "/api/join"):
        headers = client.get(path).headers
        assert headers["x-content-type-options"] == "nosniff" and headers["referrer-policy"] == "no-referrer"
        assert headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'; style-src 'self';")
        assert "file:" not in headers["content-security-policy"] and "server" not in headers
    assert 'data-server="yes"' in client.get("/").text and 'data-server="no"' not in client.get("/").text


def test_no_other_site_reaches_it_by_a_name_of_its_own(study: Made, ballots: Ballots) -> None:
    app = application(study.plan, study.site, ballots)
    assert TestClient(app, base_url="http://evil.example").get("/").status_code == 400
    assert TestClient(app, base_url="http://localhost:8000").get("/").status_code == 200


def test_from_elsewhere_a_link_needs_its_token(study: Made, ballots: Ballots) -> None:
    app = application(study.plan, study.site, ballots, "a-token-of-the-link")
    client = TestClient(app, base_url="http://study.example", cookies={})
    assert client.get("/").status_code == client.get("/?token=wrong").status_code == 403
    assert client.get("/?token=%ff%00").status_code == 403
    assert post(client, study, "join").status_code == 403
    assert client.get("/?token=a-token-of-the-link").status_code == 200
    assert post(client, study, "join").status_code == 200, "the page's own requests have the cookie"
    assert [only_here(host) for host in ("127.0.0.1", "::1", "localhost", "0.0.0.0", "study.example")] == [
        True, True, True, False, False,
    ]  # fmt: skip


def test_a_database_that_another_process_writes_is_waited_for(
    client: TestClient, study: Made, ballots: Ballots, monkeypatch: pytest.MonkeyPatch
) -> None:
    post(client, study, "join")
    ballots._connection.execute("PRAGMA busy_timeout = 50")
    said = simulated_vote(study.plan, 1, 1, "left")
    other = sqlite3.connect(ballots.path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    busy = post(client, study, "vote", **said)
    assert busy.status_code == 503 and busy.headers["retry-after"] == "1"
    ballots._connection.execute("PRAGMA busy_timeout = 5000")
    later = threading.Timer(0.3, lambda: other.execute("COMMIT"))
    later.start()
    assert post(client, study, "vote", **said).json() == {"stored": "left"}
    later.join()
    other.close()
    assert len(stored(ballots)) == 1


def test_a_file_that_is_no_database_is_named(study: Made, tmp_path: Path) -> None:
    (tmp_path / f"server-{study.plan.id}.sqlite").write_text("this is no database, but a text that somebody put there")
    with pytest.raises(InputError, match=r"server-\w+\.sqlite: cannot be used as a database of votes"):
        Ballots(tmp_path, study.plan)


# The real server


@pytest.fixture(scope="module")
def server(study: Made) -> Iterator[Server]:
    with serving(study) as found:
        yield found


def test_a_body_of_100_megabytes_is_refused_without_reading_it(server: Server) -> None:
    for length in (f"Content-Length: {100_000_000}", "Transfer-Encoding: chunked"):
        with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
            head = f"POST /api/vote HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n{length}\r\n\r\n"
            connection.sendall(head.encode())
            sent = 0
            try:
                while sent < 100_000_000:
                    data = b" " * BODY
                    connection.sendall(b"%x\r\n%s\r\n" % (BODY, data) if "chunked" in length else data)
                    sent += BODY
                    connection.settimeout(0.05)
                    try:
                        if answer := connection.recv(4096):
                            break
                    except TimeoutError:
                        pass
                    connection.settimeout(20)
            except (BrokenPipeError, ConnectionResetError):
                answer = b"HTTP/1.1 413"
            assert answer.startswith(b"HTTP/1.1 413"), answer[:100]
            assert sent < 20_000_000


def test_raw_paths_lead_nowhere_else(server: Server) -> None:
    for path in ("/../plan.json", "/videos/../../plan.json", "/videos/..%2f..%2fplan.json", "//plan.json"):
        with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
            assert connection.recv(4096).startswith(b"HTTP/1.1 404"), path


def test_a_vote_that_was_answered_outlives_a_kill(tmp_path: Path) -> None:
    import httpx2 as httpx

    study = make_study(tmp_path)
    server = Server(study)
    server.start()
    with httpx.Client(base_url=server.address, trust_env=False) as client:
        common = {"plan": study.plan.id, "rater": RATER}
        slot = client.post("api/join", json=common).json()["slot"]
        votes = [simulated_vote(study.plan, slot, place, choosing(study.plan, slot, place)) for place in (1, 2, 3)]
        for vote in votes:
            assert client.post("api/vote", json=common | vote).json() == {"stored": vote["answer"]}
    server.kill()
    server.start()
    with httpx.Client(base_url=server.address, trust_env=False) as client:
        found = client.post("api/join", json=common).json()
    server.stop()
    assert found["slot"] == slot
    assert [(one["vote"], one["answer"]) for one in found["answers"]] == [(one["vote"], one["answer"]) for one in votes]


def test_the_server_names_a_missing_video_and_does_not_start(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    study = make_study(tmp_path)
    (study.site / "videos" / study.plan.files[0]).unlink()
    with pytest.raises(RuntimeError, match="the server ended with 1"):
        Server(study).start()
    assert f"{study.plan.files[0]}: is missing" in capfd.readouterr().err


def test_another_host_gets_a_link_with_a_token(tmp_path: Path) -> None:
    study = make_study(tmp_path)
    server = Server(study, None, "--host", "0.0.0.0")
    server.start()
    server.stop()
    assert server.process and server.process.stdout
    said = server.process.stdout.read()
    assert "?token=" in said and len(said.split("?token=")[1].strip()) >= 32
    assert json.loads((tmp_path / "plan.json").read_text())["id"] == study.plan.id


def test_behind_a_proxy_on_this_machine_a_token_is_wanted_where_one_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    import httpx2 as httpx

    study = make_study(tmp_path)
    monkeypatch.setenv("STUDY_TOKEN", "too-short")
    with pytest.raises(RuntimeError, match="the server ended with 1"):
        Server(study, None, "--token-from-env", "STUDY_TOKEN").start()
    assert "STUDY_TOKEN: the variable must hold a token of 16 characters" in capfd.readouterr().err
    monkeypatch.setenv("STUDY_TOKEN", "long-enough-for-a-token")
    with serving(study, "--token-from-env", "STUDY_TOKEN") as server:
        named = {"host": "study.example"}
        assert httpx.get(server.address, headers=named).status_code == 403
        link = f"{server.address}?token=long-enough-for-a-token"
        assert httpx.get(link, headers=named).status_code == 200


def test_no_vote_that_was_answered_is_lost_by_a_kill_under_load(tmp_path: Path) -> None:
    load = measure(tmp_path, raters=8, prompts=4)
    assert len(load.acknowledged) == 8 * (8 + 4 + 3) and load.retried
    assert load.acknowledged == load.stored
