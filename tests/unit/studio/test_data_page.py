"""The data page: rows as text, edits that leave everything else alone, findings beside their rows, quick with many."""

from __future__ import annotations

import html
import json
import re
import statistics
import threading
import time
from pathlib import Path

import pytest
from loop_pages import HOSTILE, Pages, exchange, pages

ROWS = [exchange(f"question {n}", f"Answer number {n}, said plainly.") for n in range(60)]


@pytest.fixture
def odd(tmp_path: Path) -> Pages:
    return pages(tmp_path, ROWS)


def key_of(text: str, number: int) -> str:
    found = re.search(rf'id="row-{number}-([0-9a-f]{{16}})"', text)
    assert found, text
    return found[1]


def lines(odd: Pages) -> list[dict]:
    return [json.loads(line) for line in odd.persona.train_file.read_bytes().splitlines()]


def test_the_page_shows_fifty_rows_and_the_next_ones_on_request(odd: Pages):
    text = odd.get("/data")
    assert text.count('class="data-row"') == 50
    assert "start=50" in text
    rest = odd.get("/data/rows?start=50")
    assert rest.count('class="data-row"') == 10
    assert "start=100" not in rest
    assert "Answer number 59" in rest


def test_every_word_of_a_row_is_text(tmp_path: Path):
    odd = pages(tmp_path, [exchange(HOSTILE, HOSTILE + "x" * 50_000), HOSTILE, exchange("b", "c")])
    for text in (odd.get("/data"), odd.get(f"/data/rows/1/edit?key={key_of(odd.get('/data'), 1)}")):
        assert "<script>alert" not in text
        assert "{{ 7*7 }}" in text
        assert "Odd <b>" not in text
    assert html.escape(HOSTILE[:20]) in odd.get("/data")
    assert re.search(r"48,5\d\d more characters", odd.get("/data"))
    assert HOSTILE.split()[0] not in odd.get("/data/rows?q=" + HOSTILE.split()[0].replace("<", "%3C"))


def test_search_and_findings_choose_the_rows(tmp_path: Path):
    odd = pages(tmp_path, [*ROWS, "{broken", exchange("again", ROWS[4]["messages"][1]["content"])])
    assert odd.get("/data/rows?q=NUMBER+41").count('class="data-row"') == 1
    assert "No row matches" in odd.get("/data/rows?q=nowhere")
    for _ in range(100):
        about = odd.get("/data/about")
        if "Looking through" not in about:
            break
        time.sleep(0.05)
    assert "unreadable-row" in about
    broken = odd.get("/data/rows?finding=unreadable-row")
    assert broken.count('class="data-row"') == 1
    assert "{broken" in broken
    assert "correct or remove those lines" in broken
    twice = odd.get("/data/rows?finding=exact-duplicate")
    assert set(re.findall(r'id="row-(\d+)-', twice)) == {"5", "62"}
    row = re.search(r'id="row-5-([0-9a-f]+)"', twice)
    assert row is not None
    assert "exact duplicate" in odd.get(f"/data/remarks?rows=5.{row[1]},99.0,x,7.wrong")


def test_a_changed_row_is_written_and_nothing_else(odd: Pages):
    before = odd.persona.train_file.read_bytes()
    key = key_of(odd.get("/data"), 7)
    form = odd.get(f"/data/rows/7/edit?key={key}")
    assert "question 6" in form
    data = {"key": key, "role": ["user", "assistant"], "content": ["What?\r\nReally?", " So it is. "]}
    shown = odd.post("/data/rows/7", data)

    assert "So it is." in shown
    assert lines(odd)[6] == exchange("What?\nReally?", "So it is.")
    after = odd.persona.train_file.read_bytes().splitlines(keepends=True)
    assert after[:6] + after[7:] == before.splitlines(keepends=True)[:6] + before.splitlines(keepends=True)[7:]
    assert "Undo: row 7 changed" in odd.get("/data/about")
    odd.post("/data/undo")
    assert odd.persona.train_file.read_bytes() == before


def test_a_form_sent_back_as_it_was_changes_no_line_end(tmp_path: Path):
    odd = pages(tmp_path, [exchange("a\r\nb\rc", "d\r\ne")])
    before = odd.persona.train_file.read_bytes()
    data = {"key": key_of(odd.get("/data"), 1), "role": ["user", "assistant"], "content": ["a\r\nb\r\nc", "d\r\ne"]}
    odd.post("/data/rows/1", data)
    assert odd.persona.train_file.read_bytes() == before


def test_rows_are_added_taken_out_and_brought_back_also_after_a_restart(odd: Pages, tmp_path: Path):
    before = odd.persona.train_file.read_bytes()
    added = odd.post("/data/new", {"role": ["user", "assistant"], "content": ["New?", "New."]})
    assert "New." in added
    assert lines(odd)[-1] == exchange("New?", "New.")
    odd.post("/data/rows/1/delete", {"key": key_of(odd.get("/data"), 1)})
    assert len(lines(odd)) == 60

    again = Pages(odd.persona, odd.client, odd.base)
    again.post("/data/undo")
    again.post("/data/undo")
    assert odd.persona.train_file.read_bytes() == before
    assert "nothing to undo" in again.post("/data/undo", status=422)


def test_a_row_that_was_changed_meanwhile_is_not_overwritten(odd: Pages):
    key = key_of(odd.get("/data"), 3)
    text = odd.persona.train_file.read_text("utf-8").replace("Answer number 2,", "By hand,")
    odd.persona.train_file.write_text(text, encoding="utf-8")

    data = {"key": key, "role": ["user", "assistant"], "content": ["x", "y"]}
    assert "was changed or taken out" in odd.post("/data/rows/3", data, status=422)
    assert "was changed or taken out" in odd.post("/data/rows/3/delete", data, status=422)
    assert odd.persona.train_file.read_text("utf-8") == text


def test_what_could_not_be_trained_on_is_refused_and_the_file_stays(odd: Pages):
    before = odd.persona.train_file.read_bytes()
    key = key_of(odd.get("/data"), 1)
    for roles, contents, status in (
        (["user"], ["only"], 422),
        (["user", "assistant"], ["a", "  "], 422),
        (["assistant", "user"], ["a", "b"], 422),
        (["user", "robot"], ["a", "b"], 400),
        (["user", "assistant"], ["only one"], 400),
        ([], [], 422),
    ):
        odd.post("/data/rows/1", {"key": key, "role": roles, "content": contents}, status)
    assert odd.persona.train_file.read_bytes() == before


def test_turns_come_and_go_in_the_form(odd: Pages):
    data = {"role": ["user", "assistant"], "content": ["a<b>", "c"], "op": "add"}
    grown = odd.post("/data/form", data)
    assert grown.count("<textarea") == 3
    assert "a&lt;b&gt;" in grown
    assert odd.post("/data/form", {**data, "op": "remove-0"}).count("<textarea") == 1
    assert "Stage direction" in odd.post("/data/form", {**data, "op": "system"})
    assert odd.post("/data/form", {**data, "op": "remove-99"}).count("<textarea") == 2


def test_a_broken_line_is_mended_as_text(tmp_path: Path):
    odd = pages(tmp_path, [*ROWS[:2], '{"prompt": "a", "completion": '])
    key = key_of(odd.get("/data"), 3)
    assert "&#34;completion&#34;: " in odd.get(f"/data/rows/3/edit?key={key}")
    odd.post("/data/rows/3", {"key": key, "raw": "{still broken"}, status=422)
    odd.post("/data/rows/3", {"key": key, "raw": '{"prompt": "a", "completion": "b"}'})
    assert lines(odd)[-1] == {"prompt": "a", "completion": "b"}


def test_one_big_array_is_explained_and_laid_out(tmp_path: Path):
    odd = pages(tmp_path, [json.dumps(ROWS, indent=2)])
    assert "one big JSON array" in odd.get("/data")
    odd.post("/data/lines", status=303)
    assert odd.get("/data").count('class="data-row"') == 50
    odd.post("/data/undo", status=303)
    assert json.loads(odd.persona.train_file.read_bytes()) == ROWS


@pytest.mark.parametrize(
    "content", [b"", b"\n\n", b"\x1f\x8b\x08zip", "[1]".encode("utf-16"), b"a,b\nc,d\n", b"\xff\xfe\x00"]
)
def test_files_that_hold_no_rows_are_explained(tmp_path: Path, content: bytes):
    odd = pages(tmp_path, [])
    odd.persona.train_file.write_bytes(content)
    assert "<h1>Data</h1>" in odd.get("/data")


def test_a_file_that_is_not_there_begins_with_the_first_row(tmp_path: Path):
    odd = pages(tmp_path, [])
    odd.persona.train_file.unlink()
    assert "No conversations yet" in odd.get("/data")
    odd.post("/data/new", {"role": ["user", "assistant"], "content": ["a", "b"]})
    assert lines(odd) == [exchange("a", "b")]


def test_the_check_runs_once_for_a_state_of_the_file(odd: Pages):
    odd.get("/data")
    catalogues = odd.client.app.state.catalogues  # type: ignore[attr-defined]
    first = list(catalogues._checks)
    for _ in range(5):
        odd.get("/data/about")
        odd.get("/data/rows?finding=any")
    assert list(catalogues._checks) == first


def test_rows_written_by_two_pages_at_once_all_arrive(odd: Pages):
    def many(name: str) -> None:
        for number in range(8):
            odd.post("/data/new", {"role": ["user", "assistant"], "content": [f"{name}{number}?", "Yes."]})

    threads = [threading.Thread(target=many, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    said = [line["messages"][0]["content"] for line in lines(odd)[60:]]
    assert sorted(said) == sorted(f"{name}{number}?" for name in "ab" for number in range(8))


def test_lengths_are_drawn_from_the_replies(odd: Pages):
    assert "words in a reply" in odd.get("/data/lengths.json")


@pytest.mark.alone
def test_ten_thousand_rows_scroll_and_search_in_a_moment(tmp_path: Path):
    odd = pages(
        tmp_path, [exchange(f"Tell me about {n}", f"Number {n}: {'ho ' * (n % 50)}hum.") for n in range(10_000)]
    )
    odd.get("/data")
    times = []
    for path in ("/data/rows?start=9000", "/data/rows?q=about+77", "/data/rows?q=nothing", "/data/rows?start=50",
                 "/data/about", "/data/rows?q=hum&start=5000", "/data/rows?finding=any"):  # fmt: skip
        begun = time.perf_counter()
        odd.get(path)
        times.append(time.perf_counter() - begun)
    assert statistics.median(times) < 1, times
