"""A page of another origin can neither read nor change anything."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient
from studio_address import ADDRESS, TOKEN

from personatune.persona import Persona
from personatune.studio import security
from personatune.studio.app import create_app
from personatune.studio.security import LARGEST_BODY, Gate
from personatune.studio.studio import Studio

PAGES = ["/", "/queue", "/queue/strip", "/p/robin", "/p/robin/train", "/p/robin/runs", "/static/studio.css"]


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1", "127.0.0.1:7789", "localhost.evil.example:7788", ""])
@pytest.mark.parametrize("page", PAGES)
def test_a_foreign_host_reads_nothing(client: TestClient, robin: object, page: str, host: str) -> None:
    answer = client.get(page, headers={"Host": host})

    assert answer.status_code == 403
    assert "robin" not in answer.text
    assert TOKEN not in answer.text


@pytest.mark.parametrize("host", ["127.0.0.1:7788", "localhost:7788", "[::1]:7788"])
def test_this_machine_s_own_names_are_let_in(client: TestClient, host: str) -> None:
    assert client.get("/", headers={"Host": host, "Origin": f"http://{host}"}).status_code == 200


@pytest.mark.parametrize(
    "foreign",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "https://127.0.0.1:7788"},
        {"Origin": "http://127.0.0.1:7789"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},  # another port of this machine
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "script"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"},
    ],
    ids=str,
)
def test_a_foreign_origin_reads_and_changes_nothing(
    client: TestClient, folder: Path, robin: object, foreign: dict[str, str]
) -> None:
    for page in PAGES:
        answer = client.get(page, headers=foreign)
        assert answer.status_code == 403, page
        assert not [name for name in answer.headers if name.startswith("access-control-")]
    answer = client.post("/new", data={"name": "gull", "token": TOKEN}, headers=foreign)

    assert answer.status_code == 403
    assert not (folder / "gull").exists()


def test_a_link_on_another_site_opens_a_page_and_changes_nothing(client: TestClient, folder: Path) -> None:
    followed = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}

    assert client.get("/", headers=followed).status_code == 200
    assert client.post("/new", data={"name": "gull", "token": TOKEN}, headers=followed).status_code == 403
    assert not (folder / "gull").exists()


@pytest.mark.parametrize("token", [None, "", "wrong", TOKEN + "x", TOKEN.upper(), "ümlaut"])
def test_a_change_without_the_token_is_refused(client: TestClient, folder: Path, token: str | None) -> None:
    fields = {"name": "gull"} | ({"token": token} if token is not None else {})
    assert client.post("/new", data=fields).status_code == 403
    assert client.post("/new", data=fields, files={"file": b"x"}).status_code == 403
    assert not (folder / "gull").exists()


def test_the_token_counts_in_the_header_in_a_form_and_in_a_form_with_files(client: TestClient, folder: Path) -> None:
    headers = {"X-Personatune-Token": TOKEN}

    assert client.post("/new", data={"name": "one"}, headers=headers).status_code == 303
    assert client.post("/new", data={"name": "two", "token": TOKEN}).status_code == 303
    assert client.post("/new", data={"name": "three", "token": TOKEN}, files={"file": b"x"}).status_code == 303
    assert sorted(path.name for path in folder.iterdir()) == ["one", "three", "two"]


@pytest.mark.parametrize("kind", ["text/plain", "application/xml", "text/html", "application/x-www-form-urlencodedx"])
def test_only_the_types_of_forms_and_of_our_pages_are_read(client: TestClient, kind: str) -> None:
    answer = client.post("/new", content=f"name=x&token={TOKEN}", headers={"Content-Type": kind})

    assert answer.status_code == 415


@pytest.mark.parametrize("said", [True, False])
def test_a_huge_body_is_refused_whether_or_not_it_says_its_length(client: TestClient, said: bool) -> None:
    body = b"name=" + b"x" * (LARGEST_BODY + 1)
    headers = {"Content-Type": "application/x-www-form-urlencoded", "X-Personatune-Token": TOKEN}

    assert client.post("/new", content=body if said else iter([body]), headers=headers).status_code == 413


def test_a_client_that_dribbles_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(security, "SLOWEST_BODY", 0.2)
    sent: list[dict[str, object]] = []

    async def dribbling() -> dict[str, object]:
        await asyncio.sleep(0.05)
        return {"type": "http.request", "body": b"n", "more_body": True}

    async def send(message: dict[str, object]) -> None:
        sent.append(message)

    async def never(*_: object) -> None:
        raise AssertionError("the application was reached")

    kind = (b"content-type", b"application/x-www-form-urlencoded")
    scope = {"type": "http", "method": "POST", "path": "/new", "headers": [(b"host", b"127.0.0.1:8765"), kind]}
    guard = security.Guard(never, security.Gate(8765, TOKEN))  # type: ignore[arg-type]
    asyncio.run(guard(scope, dribbling, send))  # type: ignore[arg-type]

    assert sent[0]["status"] == 408


def test_nothing_that_was_said_is_logged(
    client: TestClient, robin: Persona, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    with caplog.at_level(0):
        client.get("/p/robin", params={"q": "a secret wish"})
        client.post("/new", data={"name": "a secret wish / no name", "token": TOKEN})
        client.post("/p/robin/chat/1/say", data={"text": "a secret wish", "token": TOKEN})
    printed = capfd.readouterr()

    assert "secret" not in printed.out + printed.err
    # What httpx, which only the test has, logs of its own requests does not count.
    assert not [one for one in caplog.records if "secret" in one.getMessage() and not one.name.startswith("httpx")]


@pytest.mark.parametrize(
    "page", ["/static/", "/static", "/static/vendor/", "/p/", "/static/../app.py", "/static/%2e%2e/app.py"]
)
def test_no_folder_is_listed_and_no_source_is_served(client: TestClient, page: str) -> None:
    answer = client.get(page)

    assert answer.status_code in (307, 404, 405)
    assert "import" not in answer.text


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
def test_every_method_that_changes_asks_for_the_token(client: TestClient, method: str) -> None:
    assert client.request(method, "/p/robin").status_code == 403


@pytest.mark.parametrize("page", ["/", "/nothing-here", "/static/studio.js"])
def test_every_answer_forbids_what_a_page_need_not_do(client: TestClient, page: str) -> None:
    headers = client.get(page).headers
    policy = headers["content-security-policy"]

    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cross-origin-resource-policy"] == headers["cross-origin-opener-policy"] == "same-origin"


def test_no_template_needs_what_the_policy_forbids() -> None:
    import personatune.studio.rendering as rendering

    for path in (rendering.HERE / "templates").rglob("*.html"):
        text = path.read_text("utf-8")
        assert not re.search(r"<style|\sstyle=|<script(?![^>]*\ssrc=)|\son\w+=|hx-on|javascript:", text), path.name


@pytest.mark.parametrize(
    "name",
    ["..", "../secret", "..%2fsecret", "%2e%2e", ".hidden", "secret%00", "C:\\x", "robin/../../secret", "a" * 5000],
)
def test_no_name_leads_out_of_the_workspace(client: TestClient, robin: object, folder: Path, name: str) -> None:
    secret = folder.parent / "secret"
    secret.mkdir()
    (secret / "persona.toml").write_text('name = "Told To Nobody"\n', "utf-8")

    for page in (f"/p/{name}", f"/p/{name}/runs", f"/p/{name}/train"):
        answer = client.get(page)
        assert answer.status_code in (404, 200, 307)
        assert "Told To Nobody" not in answer.text


@pytest.mark.parametrize("name", ["../gull", "a/b", "", "..", ".x", "-x", "a\\b", "x\0y", "con:1", "a" * 101])
def test_no_persona_is_made_elsewhere(client: TestClient, folder: Path, name: str) -> None:
    before = {path for path in folder.parent.rglob("*") if "jobs" not in path.parts}
    answer = client.post("/new", data={"name": name, "token": TOKEN})

    assert answer.status_code == 400
    assert {path for path in folder.parent.rglob("*") if "jobs" not in path.parts} == before


@pytest.fixture
def guarded(studio: Studio) -> Iterator[tuple[TestClient, Gate]]:
    """A studio as it is served, and a browser that has not opened the printed address."""
    gate = Gate.for_start(7788)
    with TestClient(create_app(studio, gate), base_url=ADDRESS, follow_redirects=False) as client:
        yield client, gate


@pytest.mark.parametrize("page", [*PAGES, "/p/robin/data", "/p/robin/chat/new", "/p/robin/judge"])
@pytest.mark.parametrize("cookie", [None, "", "wrong", "ümlaut"])
def test_another_user_of_this_machine_reads_nothing(
    guarded: tuple[TestClient, Gate], robin: object, page: str, cookie: str | None
) -> None:
    client, gate = guarded
    headers = {} if cookie is None else {"Cookie": f"{gate.cookie}={cookie}".encode()}
    answer = client.get(page, headers=headers)  # type: ignore[arg-type]

    assert answer.status_code == 403
    assert "robin" not in answer.text
    assert not any(secret and secret in answer.text + str(answer.headers) for secret in _secrets(gate))


def test_another_user_of_this_machine_changes_nothing_even_with_a_token(
    guarded: tuple[TestClient, Gate], folder: Path
) -> None:
    client, gate = guarded
    answer = client.post("/new", data={"name": "gull", "token": gate.token})

    assert answer.status_code == 403
    assert not any(secret and secret in str(answer.headers) for secret in _secrets(gate))
    assert not (folder / "gull").exists()


def test_who_opens_the_printed_address_is_let_in_by_a_cookie_that_no_script_and_no_other_site_can_use(
    guarded: tuple[TestClient, Gate], robin: object
) -> None:
    client, gate = guarded
    answer = client.get(gate.entrance("/p/robin?x=1&y=2"))
    cookie = answer.headers["set-cookie"]

    assert {"HttpOnly", "SameSite=strict", "Path=/"} <= {part.strip() for part in cookie.split(";")}
    assert 'url=/p/robin?x=1&amp;y=2"' in answer.text
    assert gate.key not in answer.text and gate.token not in answer.text
    assert client.get("/p/robin").status_code == 200
    assert client.post("/new", data={"name": "gull", "token": gate.token}).status_code == 303


@pytest.mark.parametrize("to", ["//evil.example", "/\\evil.example", "http://evil.example", "/a b", "", "javascript:x"])
def test_the_way_in_leads_nowhere_else(guarded: tuple[TestClient, Gate], to: str) -> None:
    client, gate = guarded

    assert 'url=/"' in client.get(gate.entrance(to)).text


@pytest.mark.parametrize("key", ["", "wrong", "ümlaut"])
def test_a_wrong_key_lets_nobody_in(guarded: tuple[TestClient, Gate], key: str) -> None:
    client, _ = guarded
    answer = client.get("/enter", params={"key": key})

    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers


def test_a_foreign_host_cannot_use_the_key(guarded: tuple[TestClient, Gate]) -> None:
    """DNS rebinding: the page's own origin is then the studio's address, under another name."""
    client, gate = guarded
    answer = client.get(gate.entrance("/"), headers={"Host": "evil.example:7788"})

    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers


def test_what_the_browser_is_started_with_opens_once(guarded: tuple[TestClient, Gate]) -> None:
    client, gate = guarded
    address = gate.entrance_once("/")

    assert client.get(address).status_code == 200
    assert client.get("/").status_code == 200
    client.cookies.clear()
    assert client.get(address).status_code == 403
    assert client.get(gate.entrance("/")).status_code == 200


def test_nothing_of_one_start_opens_the_next(guarded: tuple[TestClient, Gate]) -> None:
    _, gate = guarded
    after = Gate.for_start(7788)

    assert not set(_secrets(gate)) & set(_secrets(after))
    assert len(set(_secrets(gate))) == 3
    assert all(len(secret or "") >= 32 for secret in _secrets(gate))


def test_a_page_that_was_left_open_learns_the_new_token(guarded: tuple[TestClient, Gate], folder: Path) -> None:
    client, gate = guarded
    client.get(gate.entrance("/"))
    refused = client.post("/new", data={"name": "gull"}, headers={"X-Personatune-Token": "of the studio before"})

    assert refused.status_code == 403
    assert refused.headers["x-personatune-token"] == gate.token
    assert not (folder / "gull").exists()


def test_a_link_from_elsewhere_is_followed_from_here(guarded: tuple[TestClient, Gate]) -> None:
    client, _ = guarded
    followed = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    answer = client.get("/p/robin/%22%3E%3Cscript%3E", headers=followed)

    assert answer.status_code == 403
    assert "<script>" not in answer.text
    assert 'href="/p/robin/' in answer.text


def _secrets(gate: Gate) -> tuple[str | None, ...]:
    return gate.key, gate.session, gate.token


def test_a_way_back_never_leads_elsewhere(client: TestClient, studio: object, robin: object) -> None:
    for back in ("//evil.example", "http://evil.example", "/\\evil.example", "/\r\nSet-Cookie: a=b"):
        number = studio.queue.add(robin.folder, ["train", "robin"]).id  # type: ignore[attr-defined]
        answer = client.post(f"/queue/{number}/remove", data={"back": back, "token": TOKEN})
        assert answer.headers["location"] == "/queue"
