"""Laws of a judging as it happens: blind, each vote once, recomputable, and right as often as the protocol says."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from dataclasses import fields

import pytest
from contests import Clock, judge_all, judging_of, plainly, preferring, session_of, store_in_memory, voices

from personatune.errors import UsageError
from personatune.judging.export import preferences, votes
from personatune.judging.maker import Maker
from personatune.judging.order import TOO_FAST
from personatune.judging.replies import Making, prepare
from personatune.judging.result import result
from personatune.judging.rows import read
from personatune.judging.sentences import remedy_for_broken
from personatune.judging.session import REASONS, Closed, Enough, Session, Shown, Waiting, displayed
from personatune.judging.stopping import evidence
from personatune.store import judgings


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def store():
    with store_in_memory() as store:
        yield store


@pytest.fixture
def session(store, clock):
    return session_of(store, judging_of(store), clock)


def test_nothing_that_is_shown_says_who_answered(store, clock):
    names = ("r1", "prompted")
    judging = judging_of(store, names, parameters=({"temperature": 0.123}, {"temperature": 0.987}))
    session = Session(store, judging, clock)
    prepare(session, Making(voices(lambda name, request: f"{len(name)} {request.params.seed}")), 1000)
    session.begin("ada")
    for _ in range(60):
        shown = session.next_pair("ada")
        assert {field.name for field in fields(shown)} == {"key", "prompt", "left", "right", "sitting", "in_sitting"}
        said = repr(shown)
        for word in ("r1", "dot@", "@", "0.123", "0.987", judging.id, "first", "second", "repeat"):
            assert word not in said.replace(shown.key, ""), word
        assert not any(sample in said.split() for sample in judgings.samples(store, judging.id))
        clock.pass_by(9)
        session.vote(shown.key, "tie")


def test_a_contest_that_is_mostly_broken_names_a_fair_one():
    assert "--model starter/" in remedy_for_broken(["dot@r1", "dot@prompted"])
    assert "--model" not in remedy_for_broken(["dot@r1", "dot@r2"])
    assert "--include-faults" in remedy_for_broken(["dot@r1", "dot@r2"])


def test_sides_keys_and_counts_are_independent_of_who_answered(store, clock):
    session = session_of(store, judging_of(store), clock)
    lefts = []
    keys: dict[bool, list[str]] = {True: [], False: []}
    session.begin("ada")
    for at in range(70):
        shown = session.next_pair("ada")
        first_left = shown.left.endswith("r1.")
        keys[first_left].append(shown.key)
        if (at + 1) % 10:
            lefts.append(first_left)
        assert len(shown.key) == 16
        assert (shown.sitting - 1) * 20 + shown.in_sitting == at
        clock.pass_by(5)
        session.vote(shown.key, "tie")
    assert all(sum(lefts[start : start + 4]) == 2 for start in range(0, 60, 4))
    every = [key for found in keys.values() for key in found]
    assert len(set(every)) == len(every)
    places = Counter(showing.place % 2 for showing in judgings.showings(store, session.judging.id) if showing.left == 0)
    assert min(places.values()) > 0.25 * sum(places.values())


def test_the_next_pair_stays_the_same_until_it_is_voted_on(session):
    session.begin("ada")
    shown = session.next_pair("ada")
    assert session.next_pair("ada") == shown
    assert Session(session.store, session.judging).next_pair("ada") == shown


def test_a_vote_sent_twice_counts_once_and_stays_as_it_was(session, clock, store):
    session.begin("ada")
    shown = session.next_pair("ada")
    clock.pass_by(5)
    assert session.vote(shown.key, "left").new
    again = session.vote(shown.key, "right")
    assert (again.new, again.choice) == (False, "left")
    assert [vote.choice for vote in judgings.votes(store, session.judging.id)] == ["left"]


def test_time_is_measured_here_and_too_fast_votes_are_kept_but_asked_again(session, clock, store):
    session.begin("ada")
    shown = session.next_pair("ada")
    clock.pass_by(TOO_FAST / 1000 - 0.1)
    assert session.vote(shown.key, "left", told_milliseconds=60_000).too_fast
    seen = []
    for _ in range(6):
        following = session.next_pair("ada")
        seen.append(following.prompt)
        clock.pass_by(3)
        assert not session.vote(following.key, "left").too_fast
    assert shown.prompt in seen[3:]
    session.close()
    found = result(read(store, session.judging.id)).judges[0]
    assert (found.too_fast, found.decisive) == (1, 6)


def test_an_undo_is_a_row_and_the_same_pair_comes_again(session, clock, store):
    session.begin("ada")
    assert not session.undo("ada")
    first = session.next_pair("ada")
    clock.pass_by(5)
    session.vote(first.key, "left")
    second = session.next_pair("ada")
    assert session.undo("ada")
    again = session.next_pair("ada")
    assert (again.prompt, again.left, again.right) == (first.prompt, first.left, first.right)
    assert again.key != first.key
    clock.pass_by(5)
    session.vote(again.key, "right")
    assert session.next_pair("ada") == second
    assert [vote.choice for vote in judgings.votes(store, session.judging.id)] == ["left", "undo", "right"]
    session.close()
    assert result(read(store, session.judging.id)).judges[0].decisive == 1


def test_closing_ends_it_for_all_and_nothing_is_told_before(session, clock, store):
    for judge in ("ada", "ben"):
        session.begin(judge)
    shown = session.next_pair("ben")
    with pytest.raises(UsageError, match="still open"):
        read(store, session.judging.id)
    closed = session.close()
    assert closed.closed == session.close().closed
    assert isinstance(session.next_pair("ada"), Closed)
    clock.pass_by(5)
    with pytest.raises(UsageError, match="closed"):
        session.vote(shown.key, "left")


def test_what_was_never_shown_cannot_be_voted_on(session, store, clock):
    with pytest.raises(UsageError, match="not known"):
        session.vote("made-up", "left")
    session.begin("ada")
    shown = session.next_pair("ada")
    with pytest.raises(UsageError, match="no vote"):
        session.vote(shown.key, "LEFT")
    with pytest.raises(UsageError, match="no vote yet"):
        session.reason(shown.key, REASONS[0])
    other = session_of(store, judging_of(store, seed=8), clock, ahead=None)
    with pytest.raises(UsageError, match="not known"):
        other.vote(shown.key, "left")
    with pytest.raises(UsageError, match="begun"):
        session.next_pair("nobody")
    with pytest.raises(UsageError, match="name"):
        session.begin(" \n")


def test_faulty_and_identical_pairs_are_set_aside_and_counted_by_contestant(store, clock):
    class Cut:
        name = flag = "unfinished"
        kind = "mechanical"

        def fires(self, sample):
            return "cut" if sample.reply.endswith("and") else None

    def answer(name, request):
        number = int(request.messages[-1].content.split()[-1].rstrip("?"))
        if number % 4 == 0 and name == "r2":
            return f"{number} and"
        return (
            "the   same" if number % 4 == 1 and name == "r1" else "the same " if number % 4 == 1 else f"{number} {name}"
        )

    judging = judging_of(store, count=40)
    session = Session(store, judging, clock)
    prepare(session, Making(voices(answer), (Cut(),)), 1000)
    assert judge_all(session, clock, lambda _shown: "left") == Enough("prompts")
    session.close()
    found = result(read(store, judging.id))
    assert (found.set_aside, found.identical) == (10, 10)
    assert [(one.faulty, one.made, one.kinds) for one in found.faults] == [(0, 40, {}), (10, 40, {"unfinished": 10})]
    assert found.judges[0].decisive == 20


def test_a_contestant_with_hardly_a_whole_reply_ends_the_judging(store, clock):
    class Always:
        name = flag = "empty"
        kind = "mechanical"

        def fires(self, sample):
            return "nothing" if sample.reply == "" else None

    session = Session(store, judging_of(store), clock)
    session.begin("ada")
    making = Making(voices(lambda name, request: "" if name == "r2" else "Well."), (Always(),))
    prepare(session, making, 1000)
    assert session.next_pair("ada") == Enough("broken")
    assert len(judgings.samples(store, session.judging.id)) < 80, "no more is made than it takes to see it"
    session.close()
    assert "24 of 24 replies of dot@r2" in result(read(store, session.judging.id)).sentence

    anyway = Session(store, judging_of(store, seed=8, include_faults=True), clock)
    anyway.begin("ada")
    prepare(anyway, making, 20)
    assert isinstance(anyway.next_pair("ada"), Shown)


def test_every_reply_is_made_once_with_the_seed_that_both_share(store, clock):
    asked = []

    def answer(name, request):
        asked.append((name, request.messages[-1].content, request.params.seed))
        return f"{name} {request.params.seed}"

    judging = judging_of(store, count=30)
    for _ in range(3):
        prepare(Session(store, judging, clock), Making(voices(answer)), 1000)
    assert len(asked) == len(set(asked)) == 60
    assert {seed for _, _, seed in asked} == {pair.seed for pair in judgings.pairs(store, judging.id)}
    assert len(set(judgings.samples(store, judging.id))) == 60


def test_replies_are_made_ahead_of_the_judge_and_not_all_at_once(store, clock):
    session = Session(store, judging_of(store), clock)
    making = Making(voices(plainly))
    assert prepare(session, making, ahead=1)
    assert len(judgings.samples(store, session.judging.id)) == 16
    session.begin("ada")
    for _ in range(8):
        shown = session.next_pair("ada")
        clock.pass_by(4)
        session.vote(shown.key, "left")
    assert session.next_pair("ada") == Waiting(8)
    prepare(session, making, ahead=1)
    assert isinstance(session.next_pair("ada"), Shown)
    assert len(judgings.samples(store, session.judging.id)) == 48


def test_a_maker_works_beside_the_judge_and_ends_with_the_judging(store, clock):
    session = Session(store, judging_of(store), clock)
    session.begin("ada")
    ended = threading.Event()
    maker = Maker(session, Making(voices(plainly)), ended.set)
    maker.start()
    given = 0
    deadline = time.monotonic() + 30
    while given < 20 and time.monotonic() < deadline:
        shown = session.next_pair("ada")
        if isinstance(shown, Shown):
            clock.pass_by(5)
            session.vote(shown.key, "tie")
            given += 1
        maker.nudge()
    assert given == 20
    assert len(judgings.samples(store, session.judging.id)) < 160, "ahead of the judge, and not all at once"
    session.close()
    maker.nudge()
    assert ended.wait(10)
    made = len(judgings.samples(store, session.judging.id))
    assert not prepare(session, Making(voices(plainly)), 1000)
    assert len(judgings.samples(store, session.judging.id)) == made


def test_what_ends_a_maker_early_is_kept(store, clock):
    def answer(name, request):
        raise OSError(28, "No space left on device")

    maker = Maker(Session(store, judging_of(store), clock), Making(voices(answer)))
    maker.start()
    maker.stop()
    other = Maker(Session(store, judging_of(store), clock), Making(voices(answer)))
    other.start()
    deadline = time.monotonic() + 10
    while other.alive and time.monotonic() < deadline:
        time.sleep(0.01)
    assert isinstance(other.error, OSError)


def test_the_result_follows_from_the_exported_votes_alone(store, clock):
    chance = random.Random(5)
    session = session_of(store, judging_of(store), clock)
    session.begin("ada")
    for _ in range(50):
        shown = session.next_pair("ada", go_on=True)
        if not isinstance(shown, Shown):
            break
        clock.pass_by(chance.choice([0.5, 5, 20]))
        voted = session.vote(shown.key, chance.choice(["left", "left", "right", "tie", "broken"]))
        if not voted.too_fast and chance.random() < 0.4:
            session.reason(voted.key, chance.choice(REASONS))
        if chance.random() < 0.2:
            session.undo("ada")
    session.close()
    rows = read(store, session.judging.id)
    found = result(rows)
    assert result(read(store, session.judging.id)) == found

    lines = [line for line in votes(rows) if not line["undone"] and line["milliseconds"] >= TOO_FAST]
    once = [line for line in lines if not line["repeat"]]
    decisive = [line for line in once if line["choice"] in ("left", "right")]
    wins = sum(line[line["choice"]]["contestant"] == "dot@r1" for line in decisive)
    judge = found.judges[0]
    assert (judge.standings[0].wins, judge.decisive, judge.counted) == (wins, len(decisive), len(once))
    assert judge.evidence == pytest.approx(evidence(wins, len(decisive)))
    assert judge.left.count == sum(line["choice"] == "left" for line in decisive)
    assert judge.consistency.of == sum(line["repeat"] for line in lines)
    given = Counter(reason for line in once for reason in line["reasons"])
    assert {one.reason for one in judge.reasons} == set(given)
    for reason, count in given.items():
        assert (
            sum(one.preferred + one.passed_over + one.undecided for one in judge.reasons if one.reason == reason)
            == 2 * count
        )
    made = preferences(rows)
    assert {one.pair for one in made} == {line["pair"] for line in decisive}
    for one in made:
        (line,) = (line for line in decisive if line["pair"] == one.pair)
        other = {"left": "right", "right": "left"}[line["choice"]]
        assert (one.chosen, one.rejected) == (line[line["choice"]]["reply"], line[other]["reply"])


def test_repeats_measure_the_judge_and_never_count(store, clock):
    session = session_of(store, judging_of(store), clock)
    judge_all(session, clock, lambda shown: "left", most=41)
    session.close()
    judge = result(read(store, session.judging.id)).judges[0]
    assert judge.consistency.model_dump() == {"count": 0, "of": 4}, "always the left one is never the same one"
    assert judge.counted == 37
    assert judge.left_p < 0.001
    assert "two minds" in judge.sentence
    assert judge.preferred is None, "sides are balanced"


def test_judges_are_never_pooled_and_their_agreement_is_said(store, clock):
    session = session_of(store, judging_of(store), clock)
    chance = random.Random(2)
    assert judge_all(session, clock, preferring("r1", 1.0, chance)) == Enough("verdict")
    assert judge_all(session, clock, preferring("r2", 1.0, chance), judge="ben") == Enough("verdict")
    session.close()
    found = result(read(store, session.judging.id))
    assert [one.preferred for one in found.judges] == ["dot@r1", "dot@r2"]
    assert found.agreement.same == 0
    assert found.agreement.alpha < 0
    both = set.intersection(*({one.pair for one in votes if one.counts} for votes in ballots_of(store, session)))
    assert both
    assert not both & {one.pair for one in preferences(read(store, session.judging.id))}, "split evenly"


def test_three_contestants_are_told_apart_only_where_the_votes_do_it(store, clock):
    session = session_of(store, judging_of(store, ("r1", "r2", "r3"), count=110), clock)
    pairs = judgings.states(store, session.judging.id)
    assert set(Counter((first, second) for _, first, second, _ in pairs).values()) <= {36, 37}
    chance = random.Random(4)

    def choose(shown: Shown) -> str:
        strength = {"r1.": 4.0, "r2.": 0.0, "r3.": 0.0}
        left, right = (strength[text.split()[-1]] for text in (shown.left, shown.right))
        return "left" if chance.random() < 1 / (1 + 2.7 ** (right - left)) else "right"

    assert judge_all(session, clock, choose) == Enough("votes")
    session.close()
    judge = result(read(store, session.judging.id)).judges[0]
    assert judge.decisive == 90
    assert set(judge.above) == {("dot@r1", "dot@r2"), ("dot@r1", "dot@r3")}
    assert judge.standings[0].low > 0.5 > judge.standings[1].high
    assert judge.evidence is judge.preferred is None


def test_votes_on_lines_of_ones_own_are_kept_and_counted_apart(store, clock):
    judging = judging_of(store, ("r1", "data"), parameters=({"temperature": 0.8}, {}), count=30)
    with store.writing("giving the pairs their real lines") as connection:
        connection.execute("UPDATE judging_pairs SET real = 'A real line ' || number || '.'")
    session = Session(store, judging, clock)
    assert session.has_real_lines
    prepare(session, Making(voices(plainly)), 1000)
    session.begin("author", wrote_lines=True)
    session.begin("author", wrote_lines=False)
    assert session.known("author").wrote_lines, "what was said at the start stays"
    for judge in ("author", "friend"):
        judge_all(session, clock, lambda shown: "left" if "real" in shown.left else "right", judge=judge, most=20)
    session.close()
    found = {one.judge: one for one in result(read(store, judging.id)).judges}
    assert (found["author"].counted, found["author"].preferred) == (0, None)
    assert found["author"].own_lines.model_dump() == {"count": 18, "of": 18}
    assert found["friend"].preferred == "dot@data"
    assert len(preferences(read(store, judging.id))) == found["friend"].decisive


def test_signals_are_held_against_votes_once_there_are_enough(store, clock):
    judging = judging_of(store, count=80)
    session = Session(store, judging, clock)
    prepare(session, Making(voices(lambda name, request: "word " * (request.params.seed % 7 + (name == "r1")))), 1000)

    def longer(shown: Shown) -> str:
        return "left" if len(shown.left) > len(shown.right) else "right"

    judge_all(session, clock, longer, most=9)
    few = result(session_rows(session, store)).judges[0]
    assert few.signals == ()
    session = Session(store, judging_of(store, seed=9), clock)
    prepare(session, Making(voices(lambda name, request: "word " * (1 + hash((name, request.params.seed)) % 9))), 1000)
    session.begin("ada")
    while isinstance(shown := session.next_pair("ada", go_on=True), Shown):
        clock.pass_by(5)
        session.vote(shown.key, longer(shown))
    many = result(session_rows(session, store)).judges[0]
    words = next(one for one in many.signals if one.name == "words")
    assert words.n == many.decisive >= 30
    assert words.r > 0.6
    assert words.low < words.r < words.high
    assert next(one for one in many.signals if one.name == "rep_4").n == many.decisive


def ballots_of(store, session):
    return read(store, session.judging.id).ballots().values()


def session_rows(session, store):
    session.close()
    return read(store, session.judging.id)


def test_white_space_does_not_give_anybody_away():
    assert displayed("  a \t b\r\n\n\n\nc\u00a0 d \n") == "a b\n\nc d"
    assert displayed("<b>&amp;</b> **x**") == "<b>&amp;</b> **x**"
