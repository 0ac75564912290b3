"""What goes out is what came in, with what was changed, and nothing is lost that the format can hold."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from personatune import persona as personas
from personatune.data.exporting.card import card_v2
from personatune.data.exporting.rows import rows_as
from personatune.data.importing import appending, keeping, png
from personatune.data.importing.content import Content
from personatune.data.importing.reading import understand
from personatune.data.importing.understood import Wish
from personatune.data.load import load, to_jsonl
from personatune.errors import DataError, UsageError
from personatune.persona import Persona
from personatune.studio.persona_text import edited

ROWS = """\
{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b", "weight": 1}], "tags": ["x"]}
{"prompt": "c", "completion": "d", "score": 0.50}
{"instruction": "e", "input": "f", "output": "g", "system": "h"}
"""
CARD = """\
{ "spec":"chara_card_v2", "spec_version": "2.0",
  "name": "Odo", "odd": 1e400,
  "data": {"name":"Odo", "description": "A {{user}} \\u00e9\\/ferryman.", "personality": "dry", "scenario": "Low tide.",
    "first_mes": "Ahoy, {{user}}.", "mes_example": "<START>\\n{{user}}: Late?\\n{{char}}: Since spring.\\n<START>\\n{{user}}: Deep?\\n{{char}}: Enough.",
    "extensions": {"z": 1.50, "a": {"n": 12345678901234567890, "deep": [[]]}}, "character_book": {"entries": []}, "made_up": null}}
"""  # noqa: E501
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)


def imported(folder: Path, raw: bytes, wish: Wish | None = None) -> Persona:
    """A new persona of a card, as `data import` makes it."""
    found = understand(Content("odo.card", raw), wish or Wish())
    assert found.card is not None
    fields = dict(found.card.fields)
    name = fields.pop("name", "") or "Nobody"
    toml = edited(personas.template_toml(name), fields, folder / "persona.toml")
    rows = to_jsonl(appending.with_origins(found, "odo.card"))
    kept = keeping.files_of(found.card, wish or Wish(), "odo.card")
    return personas.create_whole(folder, {"persona.toml": toml, "train.jsonl": rows, **kept})


def changed(persona: Persona, **fields: str) -> Persona:
    path = persona.folder / "persona.toml"
    path.write_text(edited(path.read_text("utf-8"), fields, path), "utf-8")
    return Persona.open(persona.folder)


def exported(persona: Persona, **more: Any) -> bytes:
    has_rows = bool(persona.train_file.read_bytes().strip())
    return card_v2(persona, load(persona.train_file) if has_rows else [], **more).content


def picture(**texts: str) -> bytes:
    file, info = io.BytesIO(), PngImagePlugin.PngInfo()
    for keyword, text in {"author": "nobody", **texts}.items():
        info.add_text(keyword, text)
    Image.new("RGB", (3, 2), (9, 8, 7)).save(file, "PNG", pnginfo=info)
    return file.getvalue()


def packed(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def test_rows_go_out_with_everything_beside_their_words(tmp_path: Path):
    path = tmp_path / "train.jsonl"
    path.write_text(ROWS, "utf-8")

    lines = [json.loads(line) for line in rows_as(path, "messages", as_array=False).content.splitlines()]
    assert lines[0] == json.loads(ROWS.splitlines()[0])
    assert (lines[1]["score"], list(lines[1])) == (0.5, ["messages", "score"])
    share = json.loads(rows_as(path, "sharegpt", as_array=True).content)
    assert share[0]["conversations"][1] == {"weight": 1, "from": "gpt", "value": "b"} and share[0]["tags"] == ["x"]
    assert share[2]["conversations"][0] == {"from": "system", "value": "h"}


@pytest.mark.parametrize("shape", ["messages", "sharegpt"])
@pytest.mark.parametrize("as_array", [False, True])
def test_rows_that_went_out_come_back(shape: Any, as_array: bool, tmp_path: Path):
    path = tmp_path / "train.jsonl"
    path.write_text(ROWS + json.dumps({"prompt": "x\u2028y", "completion": "é\n\n😀"}) + "\n", "utf-8")
    made = rows_as(path, shape, as_array=as_array)
    found = understand(Content("out", made.content), Wish())
    assert found.format == shape and found.skipped == ()
    assert [row.messages for row in found.conversations] == [row.messages for row in load(path)]


def test_broken_rows_are_not_left_out_in_silence(tmp_path: Path):
    path = tmp_path / "train.jsonl"
    path.write_text(ROWS + "{\n", "utf-8")
    with pytest.raises(DataError, match="cannot be read"):
        rows_as(path, "messages", as_array=False)


@pytest.mark.parametrize("user_name", [None, "Nel"])
def test_a_card_that_nobody_changed_goes_out_byte_for_byte(user_name: str | None, tmp_path: Path):
    persona = imported(tmp_path / "odo", CARD.encode(), Wish(user_name=user_name))
    assert exported(persona).decode() == CARD
    (persona.folder / ".personatune" / "card.json").unlink()  # as after moving to other people
    if user_name is None:
        assert exported(persona).decode() == CARD


def test_what_was_changed_is_changed_and_nothing_else(tmp_path: Path):
    persona = changed(imported(tmp_path / "odo", CARD.encode()), greeting="Off.", name="Ido", voice="wet")
    assert exported(persona).decode() == (
        CARD.replace("Ahoy, {{user}}.", "Off.").replace('"Odo"', '"Ido"').replace('"dry"', '"wet"')
    )


def test_a_changed_description_leaves_the_scenario(tmp_path: Path):
    persona = imported(tmp_path / "odo", CARD.encode())
    longer = persona.character.description.replace("ferryman.", "ferryman, and tall.")
    data = json.loads(exported(changed(persona, description=longer)))["data"]
    assert (data["description"], data["scenario"]) == ("A the user é/ferryman, and tall.", "Low tide.")
    data = json.loads(exported(changed(persona, description="Tall.")))["data"]
    assert (data["description"], data["scenario"]) == ("Tall.", "")


def test_changed_example_rows_are_in_the_example_dialogue(tmp_path: Path):
    persona = imported(tmp_path / "odo", CARD.encode())
    text = persona.train_file.read_text("utf-8")
    persona.train_file.write_text(text.replace("Enough.", "Very.") + ROWS, "utf-8")
    made = card_v2(persona, load(persona.train_file))
    assert json.loads(made.content)["data"]["mes_example"] == (
        "<START>\n{{user}}: Late?\n{{char}}: Since spring.\n<START>\n{{user}}: Deep?\n{{char}}: Very."
    )
    assert "3 conversations" in made.unheld[0]
    assert json.loads(exported(persona, examples=0))["data"]["mes_example"] == ""
    found = understand(Content("again", exported(persona, examples=5)), Wish())
    assert [row.replies for row in found.conversations] == [("Since spring.",), ("Very.",), ("b",), ("d",), ("g",)]


def test_a_v1_card_becomes_the_data_of_a_v2_one(tmp_path: Path):
    raw = '{"name": "Odo", "first_mes": "Hi.", "personality": "", "odd" : 1.50}'
    made = exported(imported(tmp_path / "odo", raw.encode())).decode()
    assert '"odd" : 1.50' in made
    value = json.loads(made)
    assert (value["spec"], value["data"]["first_mes"], value["data"]["tags"]) == ("chara_card_v2", "Hi.", [])


def test_a_picture_goes_out_as_it_came(tmp_path: Path):
    v3 = CARD.replace("chara_card_v2", "chara_card_v3").replace('"2.0"', '"3.0"')
    raw = picture(chara=packed(CARD), ccv3=packed(v3))
    persona = imported(tmp_path / "odo", raw)
    assert exported(persona) == raw
    made = exported(changed(persona, greeting="Off."))
    texts = png.texts(made, "made", ("chara", "ccv3"))
    assert base64.b64decode(texts["chara"]).decode() == CARD.replace("Ahoy, {{user}}.", "Off.")
    assert base64.b64decode(texts["ccv3"]).decode() == v3.replace("Ahoy, {{user}}.", "Off.")
    assert Image.open(io.BytesIO(made)).info["author"] == "nobody"
    kept = [c.body for c in png.chunks(raw, "raw") if c.kind != b"tEXt"]
    assert [c.body for c in png.chunks(made, "made") if c.kind != b"tEXt"] == kept
    assert json.loads(exported(persona, as_picture=False))["spec"] == "chara_card_v2"


def test_a_picture_of_v3_alone_gets_a_v2_card_too(tmp_path: Path):
    v3 = CARD.replace("chara_card_v2", "chara_card_v3")
    made = exported(imported(tmp_path / "odo", picture(ccv3=packed(v3))))
    texts = png.texts(made, "made", ("chara", "ccv3"))
    assert base64.b64decode(texts["ccv3"]).decode() == v3
    assert base64.b64decode(texts["chara"]).decode() == CARD


def test_a_persona_without_a_card_becomes_one(tmp_path: Path):
    persona = personas.create(tmp_path / "ida", display_name="Ida", train_jsonl=ROWS, suite_yaml=None)
    persona = changed(persona, summary="A cat.", description="Of the harbour.", voice="Short.", greeting="Miau.")
    made = card_v2(persona, load(persona.train_file), 2)
    found = understand(Content("ida.json", made.content), Wish())
    assert found.card is not None
    assert found.card.fields == {
        "name": "Ida", "description": "A cat.\n\nOf the harbour.", "voice": "Short.", "greeting": "Miau."
    }  # fmt: skip
    assert [row.replies for row in found.conversations] == [("b",), ("d",)]
    assert "1 conversation;" in made.unheld[0]
    with pytest.raises(UsageError, match="without a picture"):
        card_v2(persona, [], as_picture=True)


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    more=st.dictionaries(st.text(min_size=1).map(lambda key: f"my_{key}"), JSON, max_size=4),
    extensions=st.dictionaries(st.text(), JSON, max_size=4),
    greeting=st.text(st.characters(blacklist_categories=["Cs", "Cc"]), max_size=30),
    indent=st.sampled_from([None, 2]),
    ascii_only=st.booleans(),
)
def test_any_card_keeps_what_nobody_here_knows(
    tmp_path_factory: pytest.TempPathFactory, more: Any, extensions: Any, greeting: str, indent: Any, ascii_only: bool
):
    data = {"name": "Odo", **more, "first_mes": greeting, "mes_example": "", "extensions": extensions}
    card = {"spec": "chara_card_v2", "data": data, "spec_version": "2.0"}
    raw = json.dumps(card, indent=indent, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    persona = imported(tmp_path_factory.mktemp("any") / "odo", raw)
    assert exported(persona) == raw

    made = exported(changed(persona, voice="new words"))
    wanted = {**data, "personality": "new words"}
    assert json.dumps(json.loads(made)) == json.dumps({**card, "data": wanted})


TEXT = st.text(max_size=20)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=TEXT, about=TEXT, voice=TEXT, greeting=TEXT, examples=TEXT, scenario=TEXT)
def test_whatever_a_card_says_a_persona_can_say(
    tmp_path_factory: pytest.TempPathFactory,
    name: str,
    about: str,
    voice: str,
    greeting: str,
    examples: str,
    scenario: str,
):
    data = {"name": name, "description": about, "personality": voice, "first_mes": greeting,
            "mes_example": f"{{{{user}}}}: a\n{{{{char}}}}: {examples}", "scenario": scenario}  # fmt: skip
    raw = json.dumps({"spec": "chara_card_v2", "spec_version": "2.0", "data": data}).encode()
    persona = imported(tmp_path_factory.mktemp("says") / "odo", raw)
    assert persona.character.name
    if name.strip():
        assert exported(persona) == raw


def test_a_character_of_another_program_becomes_a_new_card(tmp_path: Path):
    raw = (
        b'{"char_name": "Odo", "char_persona": "A ferryman.", "char_greeting": "Ahoy.", "world_scenario": "", "odd": 1}'
    )
    persona = imported(tmp_path / "odo", raw)
    made = card_v2(persona, [])
    data = json.loads(made.content)["data"]
    assert (data["name"], data["description"], data["first_mes"]) == ("Odo", "A ferryman.", "Ahoy.")
    assert "card.json" in made.remarks[0]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le"])
def test_a_card_in_another_encoding_goes_out_as_utf_8(encoding: str, tmp_path: Path):
    assert exported(imported(tmp_path / "odo", CARD.encode(encoding))).decode() == CARD


def test_line_ends_of_a_card_stay(tmp_path: Path):
    raw = CARD.replace("\n", "\r\n").encode()
    assert exported(imported(tmp_path / "odo", raw)) == raw
