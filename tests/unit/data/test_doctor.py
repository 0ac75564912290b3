"""Every finding: a planted row that has it, and a clean data set that has none."""

from __future__ import annotations

import pytest
from data_rows import WORDS, clean_rows, talk

from personatune.data.doctor import SuitePrompt, examine
from personatune.data.findings import LEVELS, Finding

PLANTED = 61


def codes(conversations, **options):
    return [finding.code for finding in examine(conversations, **options).findings]


def only(conversations, code, **options):
    """The one finding, when `code` is the only thing that is found."""
    findings = examine(conversations, **options).findings
    assert [finding.code for finding in findings] == [code]
    return findings[0]


def planted(*texts, **options):
    return [*clean_rows(), talk(*texts, line=PLANTED, **options)]


def test_a_clean_data_set_has_no_finding():
    spoken_of = " ".join(clean_rows()[20].replies[0].split()[1:4])
    suite = [SuitePrompt(id="words", text=f"{spoken_of}?")]

    assert codes(clean_rows(), suite_prompts=suite, count_tokens=lambda _: 10) == []


@pytest.mark.parametrize(
    ("code", "level", "texts"),
    [
        ("role-order", "error", ["Who goes there?", "Only me.", "Then come in."]),
        ("empty-message", "error", ["Who goes there?", ""]),
        ("template-tokens", "error", ["Who goes there?", "Only <end_of_turn> me."]),
        ("template-tokens", "error", ["<|im_start|>user Who goes there?", "Only me."]),
        ("no-final-punctuation", "warning", ["Who goes there?", "Only me and the"]),
        ("mojibake", "warning", ["Who goes there?", "It isnâ€™t me."]),
        ("mojibake", "warning", ["Who goes there?", "It isn\ufffdt me."]),
        ("personal-data", "warning", ["Who goes there?", "Write to jane.doe@example.org."]),
        ("over-token-limit", "warning", ["Who goes there?", " ".join(WORDS * 10) + "."]),
    ],
)
def test_a_planted_row_is_found_where_it_stands(code, level, texts):
    finding = only(planted(*texts), code)

    assert finding.level == level
    assert finding.places == (f"train.jsonl:{PLANTED}",)
    assert finding.count == 1
    assert finding.remedy


@pytest.mark.parametrize(
    "texts",
    [
        ["Who?", "Me.", "system turn in the middle"],
        ["Who?"],
        [],
    ],
)
def test_roles_that_do_not_take_turns_are_an_error(texts):
    assert "role-order" in codes(planted(*texts))


def test_a_system_message_may_only_come_first():
    first = talk("Who goes there?", "Only me.", system="Be loud.", line=PLANTED)
    late = first.model_copy(update={"messages": first.messages[1:] + first.messages[:1]})

    assert codes([*clean_rows(), first]) == []
    assert codes([*clean_rows(), late]) == ["role-order"]


@pytest.mark.parametrize(
    "reply",
    ["Yes!", "Yes…", "“Yes.”", "(Yes?)", "Yes. 😀", "Yes!❤️", "👩‍👩‍👧", "*Yes.*", "はい。", "«Oui!»", "Yes?\n"],
)
def test_a_sentence_may_end_in_quotes_brackets_and_emoji(reply):
    assert codes(planted("Is it you?", reply)) == []


@pytest.mark.parametrize("reply", ["Yes", "Yes,", "“Yes”", "Yes 😀", "Yes -"])
def test_a_reply_without_an_end_is_found_in_any_wrapping(reply):
    assert codes(planted("Is it you?", reply)) == ["no-final-punctuation"]


def test_accents_and_typographic_marks_are_not_mojibake():
    assert codes(planted("Où est-ce ?", "Là-bas, “près” de l’été – 20 €… naïve façade, Ærøskøbing, smörgåsbord!")) == []


def test_one_length_is_said_in_these_words():
    rows = [talk(f"{word}?", " ".join(WORDS[n : n + 20 + n % 3]) + ".", line=n) for n, word in enumerate(WORDS[:20], 1)]
    found = [finding for finding in examine(rows).findings if finding.code == "one-length"]

    assert len(found) == 1
    assert "you are teaching one length" in found[0].message
    assert "20 replies of 21 words" in found[0].message
    assert "from 20 to 22" in found[0].message
    assert found[0].level == "warning"


def test_nine_replies_or_varied_lengths_are_not_one_length():
    rows = [talk(f"{word}?", "Never you mind.", line=n) for n, word in enumerate(WORDS[:9], 1)]

    assert "one-length" not in codes(rows)
    assert "one-length" not in codes(clean_rows())


def test_an_opener_in_over_15_percent_of_the_replies_is_named():
    rows = clean_rows(60)
    opened = [talk(row.prompts[0], "For crumbs, " + row.replies[0], line=n) for n, row in enumerate(rows[:12], 1)]
    finding = only([*opened, *rows[12:]], "one-sided-openers")

    assert "“for crumbs”" in finding.message
    assert finding.count == 12
    assert finding.places[0] == "train.jsonl:1"


def test_a_closing_sentence_in_over_15_percent_of_the_replies_is_named():
    rows = clean_rows(60)
    closed = [talk(row.prompts[0], row.replies[0] + " Big paws promise!", line=n) for n, row in enumerate(rows[:12], 1)]
    finding = only([*closed, *rows[12:]], "one-sided-closers")

    assert finding.level == "warning"
    assert "“big paws promise”" in finding.message
    assert finding.count == 12


def test_ending_nearly_always_with_the_same_mark_is_a_note_unless_it_is_a_full_stop():
    def ended(mark):
        texts = [(row, [text.rstrip(".!?…") + mark for text in row.replies]) for row in clean_rows(60)]
        return [talk(*(t for pair in zip(row.prompts, replies, strict=True) for t in pair)) for row, replies in texts]

    finding = only(ended("!"), "one-sided-closers")
    assert finding.level == "note"
    assert "100% of 70 replies end with “!”" in finding.message
    assert codes(ended(".")) == []


def test_a_suite_prompt_in_the_training_data_is_an_error_with_case_and_row():
    suite = [
        SuitePrompt(id="sea", text="have you EVER been to sea"),
        SuitePrompt(id="sky", text=" ".join(clean_rows()[20].replies[0].split()[1:4])),
    ]
    finding = only(planted("Have you ever been to sea?!", "Twice."), "suite-leak", suite_prompts=suite)

    assert finding.level == "error"
    assert "'sea'" in finding.message
    assert "'sky'" not in finding.message
    assert finding.places == (f"train.jsonl:{PLANTED} (suite case 'sea')",)


@pytest.mark.parametrize("prompt", ["Have you ever been to the sea?", "To sea have you ever been?"])
def test_a_suite_prompt_nearly_in_the_training_data_is_a_warning(prompt):
    suite = [SuitePrompt(id="sea", text="Have you ever been to sea?")]
    finding = only(planted(prompt, "Twice."), "suite-near-leak", suite_prompts=suite)

    assert finding.level == "warning"
    assert finding.places == (f"train.jsonl:{PLANTED} (suite case 'sea')",)


def test_a_leak_at_a_later_turn_counts():
    suite = [SuitePrompt(id="sea", text="Have you ever been to sea?")]

    assert codes(planted("Hello you.", "Hi.", "Have you ever been to sea?", "Twice."), suite_prompts=suite) == [
        "suite-leak"
    ]


def test_a_small_data_set_is_told_so():
    rows = [talk("Who goes there?", "Only me.", line=1)]

    assert codes(rows) == ["little-data", "few-rows", "no-multi-turn"]
    assert codes([]) == ["little-data", "few-rows"]
    assert codes(clean_rows(49)) == ["few-rows"]


def test_single_exchanges_only_are_a_note():
    rows = [talk(row.prompts[0], row.replies[0]) for row in clean_rows(60)]

    assert only(rows, "no-multi-turn").level == "note"


def test_problems_of_loading_come_along_and_errors_come_first():
    problem = Finding(code="unreadable-row", level="error", message="m", count=1, remedy="r")
    found = examine([talk("a", "b")], problems=[problem]).findings

    assert found[0] == problem
    assert [LEVELS.index(finding.level) for finding in found] == sorted(LEVELS.index(f.level) for f in found)


def test_twenty_places_are_kept_and_all_are_counted():
    rows = [talk(f"{word}?", "", line=n) for n, word in enumerate(WORDS[:30], 1)]
    finding = next(f for f in examine(rows).findings if f.code == "empty-message")

    assert finding.count == 30
    assert finding.places == tuple(f"train.jsonl:{n}" for n in range(1, 21))


def test_rows_that_were_not_read_from_a_file_are_numbered():
    found = examine([talk("a", "b"), talk("c", "")]).findings

    assert found[0].places == ("conversation 2",)


def test_the_numbers_are_those_of_the_rows():
    rows = [talk("one two", "a b c", system="be kind"), talk("one", "a b", "two", "c d e f g")]
    seen = examine(rows)

    assert (seen.rows, seen.turns, seen.multi_turn) == (2, 6, 1)
    assert seen.tokens.estimated
    assert (seen.tokens.total, seen.tokens.max, seen.tokens.mean) == (10 + 13, 13, 11.5)
    words = seen.reply_words
    assert (words.n, words.min, words.max, words.median, words.mean) == (3, 2, 5, 3, pytest.approx(10 / 3))
    assert words.sd == pytest.approx(1.2472, abs=1e-4)
    assert words.spread == pytest.approx(words.sd / words.mean)
    assert sum(bin_.count for bin_ in words.bins) == 3
    assert [(bin_.low, bin_.high, bin_.count) for bin_ in words.bins] == [(2, 3, 1), (3, 4, 1), (4, 5, 0), (5, 6, 1)]


def test_a_tokenizer_counts_only_rows_that_a_chat_template_accepts():
    def count(conversation):
        assert conversation.replies[-1]
        return 1000

    seen = examine([talk("a", "b"), talk("a"), talk("a", "")], count_tokens=count, max_tokens=900)
    finding = next(f for f in seen.findings if f.code == "over-token-limit")

    assert not seen.tokens.estimated
    assert seen.tokens.total == 1000 + 2 + 2
    assert finding.places == ("conversation 1",)


def test_what_is_quoted_is_one_printable_line():
    finding = only(planted("Who?", "It is \x1b[31mme\u2028and also\n" + "x" * 50 + " me"), "no-final-punctuation")

    assert finding.message.isprintable()
    assert len(finding.message) < 140


def test_an_examination_survives_json():
    seen = examine(clean_rows(10))

    assert type(seen).model_validate_json(seen.model_dump_json()) == seen
