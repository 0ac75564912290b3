"""A sweep that ends while its page is read: everything new appears in place, and nothing that is open goes."""

from __future__ import annotations

from pathlib import Path

from watching import Watched

from conftest import StartStudio
from personatune.conversation import Message
from personatune.generation.params import GenerationParams
from personatune.persona import Persona
from personatune.store import sweeps
from personatune.store.of_persona import open_store
from personatune.store.records import PlannedSample, SampleRecord, SweepRecord


def begun(persona: Persona) -> str:
    """A sweep of r2 over two temperatures, without a reply."""
    points = [GenerationParams(temperature=one).model_dump(exclude={"seed"}) for one in (0.5, 1.0)]
    planned = [
        PlannedSample(point=at, case=f"c{case}", k=0, messages=(Message(role="user", content=f"Question {case}?"),),
                      seed=case, request=f"{at}-{case}")
        for at in (1, 2) for case in range(8)
    ]  # fmt: skip
    record = SweepRecord(contestant="pip@r2", run="r2", fingerprint="live", plan={"grid": {}})
    with open_store(persona) as store:
        return sweeps.add(store, record, points, planned).id


def answered(persona: Persona, sweep: str, how_many: int) -> None:
    with open_store(persona) as store:
        points = sweeps.points(store, sweep)
        for wanted in [one for one in sweeps.planned(store, sweep) if one.sample is None][:how_many]:
            reply = f"Squeak to question {wanted.case} at point {wanted.point}! " + "So it goes in a bakery. " * 12
            made = SampleRecord(
                origin="sweep", contestant="pip@r2", run="r2", case=wanted.case, messages=wanted.messages, reply=reply,
                finish_reason="stop", seed=wanted.seed, parameters=points[wanted.point - 1],
            )  # fmt: skip
            sweeps.keep(store, wanted, made)


def test_what_is_read_stays_when_a_sweep_ends(start_studio: StartStudio, filled: Path, watched: Watched):
    persona = Persona.open(filled / "pip")
    sweep = begun(persona)
    studio = start_studio(filled)
    page = watched.open(f"{studio.url}/p/pip/sweep/{sweep}")
    page.evaluate("window.same = true")
    assert page.locator("#heat").is_hidden()
    answered(persona, sweep, 11)
    page.get_by_role("button", name="Read its replies").first.click()
    page.locator(".reply-card").nth(7).wait_for()
    page.locator("#heat svg").wait_for()
    page.locator("#heat summary").click()
    read = page.locator(".reply-card").nth(4)
    read.scroll_into_view_if_needed()
    page.evaluate("getSelection().selectAllChildren(document.querySelectorAll('.reply-card')[4])")
    marked = page.evaluate("getSelection().toString()")
    page.wait_for_timeout(400)  # what comes into sight has come
    before = read.bounding_box()
    assert "Squeak" in marked and before
    answered(persona, sweep, 99)
    page.get_by_role("link", name="Talk to it").wait_for()
    page.get_by_role("heading", name="What each parameter does").wait_for()
    page.wait_for_timeout(1_500)  # the chart, too

    after = read.bounding_box()
    assert page.evaluate("window.same")
    assert page.evaluate("getSelection().toString()") == marked
    assert after and abs(after["y"] - before["y"]) < 40, "what is read has moved"
    assert page.locator("#heat details[open] tbody tr").count() == 2
    assert not page.locator("progress, .progress").count()
    assert not watched.errors


def test_the_plan_and_its_command_are_said_once_and_go_with_the_form(
    start_studio: StartStudio, filled: Path, watched: Watched
):
    page = watched.open(f"{start_studio(filled).url}/p/pip/sweep")
    page.get_by_label("Temperature").fill("0.3, 0.7")
    page.get_by_label("Replies for each").fill("4")
    page.locator("#size").get_by_text("80 replies").wait_for()

    shown = [line for line in page.locator("code").all_inner_texts() if "personatune sweep" in line]
    assert len(shown) == 1
    assert "--temperature 0.3 0.7" in shown[0] and "--samples 4" in shown[0]
    assert page.locator("#sweep-command [data-copy]").get_attribute("data-copy") == shown[0]
    page.get_by_label("Temperature").fill("hot")
    page.locator("#size").get_by_text("no list of numbers").wait_for()
    assert not page.locator("#sweep-command code").count()
