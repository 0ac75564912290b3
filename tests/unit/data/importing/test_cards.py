"""Cards of every version say who the character is, and are kept whole; pictures may lie about what is in them."""

from __future__ import annotations

import base64
import io
import json
import struct
import zlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from personatune.data.importing import png
from personatune.data.importing.content import Content
from personatune.data.importing.reading import understand
from personatune.data.importing.understood import Understood, Wish
from personatune.errors import DataError

DATA: dict[str, Any] = {
    "name": "Odo Brack",
    "description": "{{char}} rows the ferry. {{user}} pays {{ CHAR }}.",
    "personality": "dry",
    "scenario": "Low tide.",
    "first_mes": "Mind the rope, {{user}}.",
    "mes_example": "<START>\n{{user}}: Late?\n{{char}}: *Looks at {{user}}.*\nSince spring.\n"
    "<start>\n{{User}}: Deep?\nOdo: Enough.",
    "alternate_greetings": ["Aboard, then.", ""],
    "system_prompt": "Be brief.",
    "character_book": {"entries": [{"keys": ["rope"], "content": "wet"}]},
    "extensions": {"depth": {"prompt": "\u2603", "n": 1.50}},
    "made_up": [1, None],
}
V2 = {"spec": "chara_card_v2", "spec_version": "2.0", "data": DATA}
V3 = {"spec": "chara_card_v3", "spec_version": "3.0", "data": {**DATA, "nickname": "Skipper"}}
PLAIN = Wish()
V1 = {key: DATA[key] for key in ("name", "description", "personality", "scenario", "first_mes", "mes_example")}


def picture(**texts: bytes) -> bytes:
    """A PNG with these texts, as other programs write them."""
    file = io.BytesIO()
    info = PngImagePlugin.PngInfo()
    for keyword, text in texts.items():
        info.add_text(keyword, text.decode("latin-1"))
    Image.new("RGB", (3, 2), (9, 8, 7)).save(file, "PNG", pnginfo=info)
    return file.getvalue()


def packed(card: dict[str, Any]) -> bytes:
    return base64.b64encode(json.dumps(card).encode())


def chunk(kind: bytes, body: bytes, *, checksum: int | None = None) -> bytes:
    crc = zlib.crc32(body, zlib.crc32(kind)) if checksum is None else checksum
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", crc)


def with_chunk(made: bytes) -> bytes:
    whole = picture()
    return whole[:-12] + made + whole[-12:]


def read(raw: bytes, wish: Wish = PLAIN, name: str | None = None) -> Understood:
    return understand(Content("odo", raw), wish, name)


def said(found: Understood) -> list[list[str]]:
    return [[message.content for message in row.messages] for row in found.conversations]


@pytest.mark.parametrize("card", [V1, V2, {**V2, **V1}], ids=["V1", "V2", "both at once"])
@pytest.mark.parametrize("is_picture", [False, True])
def test_a_card_says_who_the_character_is(card: dict[str, Any], is_picture: bool):
    found = read(picture(chara=packed(card)) if is_picture else json.dumps(card, indent=1).encode())

    assert found.format == "card" and found.card is not None
    assert found.card.fields == {
        "name": "Odo Brack",
        "description": "Odo Brack rows the ferry. the user pays Odo Brack.\n\nLow tide.",
        "voice": "dry",
        "greeting": "Mind the rope, you.",
    }
    assert said(found) == [["Late?", "*Looks at you.*\nSince spring."], ["Deep?", "Enough."]]
    assert (found.card.picture is not None) == is_picture
    assert json.loads(found.card.original) == card


def test_a_nickname_is_what_the_character_is_called():
    found = read(json.dumps(V3).encode(), Wish(user_name="Nel"))
    assert found.card is not None
    assert found.card.fields["description"].startswith("Skipper rows the ferry. Nel pays Skipper.")
    assert found.card.fields["name"] == "Odo Brack"
    assert "character book (1 entry)" in " ".join(found.remarks)


def test_the_newer_card_of_a_picture_counts_and_greetings_become_rows_on_demand():
    raw = picture(chara=packed(V2), ccv3=packed(V3))
    found = read(raw, Wish(opening="Ferry!"))
    assert found.card is not None and json.loads(found.card.original) == V3
    assert ["Ferry!", "Aboard, then."] in said(found) and ["Ferry!", "Mind the rope, you."] in said(found)


@pytest.mark.parametrize("kind", [b"zTXt", b"iTXt packed", b"iTXt"])
def test_packed_texts_are_read(kind: bytes):
    text = packed(V2)
    body = {
        b"zTXt": b"chara\0\0" + zlib.compress(text),
        b"iTXt packed": b"chara\0\1\0en\0x\0" + zlib.compress(text),
        b"iTXt": b"chara\0\0\0\0\0" + text,
    }[kind]
    assert len(read(with_chunk(chunk(kind[:4], body))).conversations) == 2


@pytest.mark.parametrize(
    ("raw", "named"),
    [
        (picture(), "without a character"),
        (picture(chara=packed(V2))[:-20], "breaks off"),
        (picture(chara=packed(V2))[:40], "breaks off"),
        (png.SIGNATURE, "breaks off"),
        (png.SIGNATURE + struct.pack(">I4s", 0xFFFFFFFF, b"tEXt") + bytes(20), "breaks off"),
        (with_chunk(chunk(b"tEXt", b"chara\0" + packed(V2), checksum=1)), "checksum"),
        (picture(chara=b"not base64 \xe9!"), "base64"),
        (picture(chara=base64.b64encode(b"[1]")), "no JSON object"),
        (picture(chara=base64.b64encode(b'{"a": 1}')), "no character card"),
        (picture(chara=base64.b64encode(b'{"a": ' + b"[" * 100_000)), "nested"),
        (picture(chara=base64.b64encode(b'{"a": ' + b"9" * 5000 + b"}")), "JSON"),
        (with_chunk(chunk(b"zTXt", b"chara\0\0" + zlib.compress(bytes(9 << 20)))), "MiB"),
        (with_chunk(chunk(b"iTXt", b"chara\0\1\0\0\0" + zlib.compress(bytes(9 << 20)))), "MiB"),
        (with_chunk(chunk(b"zTXt", b"chara\0\0nothing packed")), "unpacked"),
    ],
)
def test_a_damaged_or_hostile_picture_is_one_clear_error(raw: bytes, named: str):
    with pytest.raises(DataError) as caught:
        read(raw)
    assert named in str(caught.value) and caught.value.fix and "odo" in str(caught.value.where)


@pytest.mark.parametrize(
    "change",
    [
        {"name": None},
        {"mes_example": ["a"]},
        {"alternate_greetings": "x"},
        {"first_mes": 5},
        {"character_book": {"entries": 3}},
        {"name": "n" * 5000},
        {"name": "\ud800", "first_mes": "a\ud83d b", "mes_example": "{{user}}: \udc00\n{{char}}: \0"},
        {"extensions": {"a": {"b": [{}] * 100}}},
    ],
)
def test_fields_of_odd_kinds_do_no_harm(change: dict[str, Any]):
    found = read(json.dumps({**V2, "data": {**DATA, **change}}).encode())
    assert found.card is not None
    assert all(text.encode() and "\0" not in text for text in found.card.fields.values())
    assert len(found.card.fields.get("name", "")) <= 100


@settings(deadline=None, max_examples=50)
@given(st.binary(max_size=300))
def test_other_chunks_stay_as_they_are(text: bytes):
    raw = picture(author=b"nobody", chara=packed(V2), z=b"last")
    made = png.with_texts(raw, "odo", {"chara": text})
    assert png.texts(made, "odo", ("chara",)) == {"chara": text}
    others = [c.body for c in png.chunks(raw, "odo") if not c.body.startswith(b"chara\0")]
    assert [c.body for c in png.chunks(made, "odo") if not c.body.startswith(b"chara\0")] == others
    assert png.with_texts(made, "odo", {"chara": packed(V2)}) == raw
    assert all(c.is_whole for c in png.chunks(made, "odo"))


@settings(deadline=None, max_examples=50)
@given(st.data())
def test_a_picture_with_a_byte_changed_is_read_or_refused(data: st.DataObject):
    raw = bytearray(picture(chara=packed(V2)))
    raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        read(bytes(raw), name="card")
    except DataError as error:
        assert error.fix
