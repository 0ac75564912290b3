"""A persona folder is made whole or not at all, and a broken one names the file and the line."""

from __future__ import annotations

import pytest

from personatune import files
from personatune.data.load import load
from personatune.errors import PersonaError, UsageError
from personatune.persona import PERSONA_FILE, Persona, builtin_names, copy_builtin, create

ROW = '{"messages": [{"role": "user", "content": "Hi."}, {"role": "assistant", "content": "Hello!"}]}\n'


def make(folder, name="Pip"):
    return create(folder, display_name=name, train_jsonl=ROW, suite_yaml=None)


def broken(tmp_path, text):
    path = tmp_path / PERSONA_FILE
    path.write_text(text, encoding="utf-8")
    with pytest.raises(PersonaError) as caught:
        Persona.open(tmp_path)
    return path, caught.value


@pytest.mark.parametrize("name", ["pip", "my-robot", "robot_2", "Zoë", "two words"])
def test_a_folder_is_made_and_opened_again(tmp_path, name):
    made = make(tmp_path / name, name="Pip the Robot")

    opened = Persona.open(tmp_path / name)
    assert opened.name == made.name == name
    assert opened.character.name == "Pip the Robot"
    assert opened.train_file.read_text(encoding="utf-8") == ROW
    assert {path.name for path in tmp_path.iterdir()} == {name}


@pytest.mark.parametrize("name", [".pip", "-pip", "a:b", "a*b", 'a"b', "a|b", "pip@r1", "a\\b", "a?b", "x" * 101])
def test_names_that_no_folder_or_reference_can_have_are_refused(tmp_path, name):
    with pytest.raises(UsageError) as caught:
        make(tmp_path / name)

    assert caught.value.exit_code == 2
    assert not list(tmp_path.iterdir())


def test_a_folder_that_exists_is_not_touched(tmp_path):
    (tmp_path / "pip").mkdir()

    with pytest.raises(UsageError, match="exists already"):
        make(tmp_path / "pip")
    assert not list((tmp_path / "pip").iterdir())


@pytest.mark.parametrize("name", ['Pip "the bolt"', "back\\slash", "tab\tbed", "new\nline", "日本 🤖"])
def test_any_display_name_gives_a_readable_file(tmp_path, name):
    assert make(tmp_path / "pip", name=name).character.name == name


@pytest.mark.parametrize("name", ["", "x" * 101])
def test_a_display_name_that_cannot_be_leaves_nothing(tmp_path, name):
    with pytest.raises(PersonaError, match="'name'"):
        make(tmp_path / "pip", name=name)
    assert not list(tmp_path.iterdir())


def test_a_failure_on_the_way_leaves_nothing(tmp_path, monkeypatch):
    write = files.write_text

    def failing(path, text):
        if path.name == "train.jsonl":
            raise OSError(28, "No space left on device", str(path))
        write(path, text)

    monkeypatch.setattr(files, "write_text", failing)
    with pytest.raises(Exception, match="the disk is full"):
        make(tmp_path / "pip")
    assert not list(tmp_path.iterdir())


def test_bad_toml_names_the_file_and_the_line(tmp_path):
    path, error = broken(tmp_path, 'name = "Pip"\nsummary = oops\n')

    assert str(path) in error.where
    assert "2" in error.where.removeprefix(str(path)) + error.what


def test_an_unknown_key_names_its_line_and_the_keys_there_are(tmp_path):
    path, error = broken(tmp_path, 'name = "Pip"\n\nvioce = "Short."\n')

    assert error.where == f"{path}:3"
    assert "'vioce'" in error.what
    assert "voice" in error.fix


@pytest.mark.parametrize("text", ["", 'summary = "no name"\n', 'name = ""\n', "name = 3\n"])
def test_a_character_without_a_name_is_refused(tmp_path, text):
    _, error = broken(tmp_path, text)

    assert "'name'" in error.what


def test_text_that_is_not_utf8_is_named(tmp_path):
    (tmp_path / PERSONA_FILE).write_bytes('name = "Zoë"\n'.encode("latin-1"))

    with pytest.raises(PersonaError, match="UTF-8"):
        Persona.open(tmp_path)


def test_a_folder_that_is_none_says_how_to_make_one(tmp_path):
    with pytest.raises(PersonaError, match="is not a persona folder") as caught:
        Persona.open(tmp_path)
    assert "personatune new" in caught.value.fix

    with pytest.raises(PersonaError, match="there is no persona folder") as caught:
        Persona.open(tmp_path / "pip")
    assert caught.value.fix.startswith("personatune new pip ")


@pytest.mark.parametrize("name", builtin_names())
def test_every_built_in_character_is_a_whole_persona(tmp_path, name):
    persona = copy_builtin(name, tmp_path / "mine")

    assert persona.name == "mine"
    assert len(load(persona.train_file)) >= 20
    assert persona.suite_file.is_file()
    assert persona.character.name in persona.system_prompt


def test_the_system_prompt_says_who_and_how(tmp_path):
    text = 'name = "Pip"\nsummary = "A robot."\ndescription = "Lives in a shed."\nvoice = "Short sentences."\n'
    (tmp_path / PERSONA_FILE).write_text(text, encoding="utf-8")
    prompt = Persona.open(tmp_path).system_prompt

    assert all(part in prompt for part in ("Pip", "A robot.", "Lives in a shed.", "Short sentences."))


@pytest.mark.parametrize(
    ("text", "place"), [("name = 'Pip'\nage = " + "9" * 5000, ":2"), ("a = " + "[" * 5000, PERSONA_FILE)]
)
def test_absurd_toml_is_no_traceback(tmp_path, text, place):
    (tmp_path / PERSONA_FILE).write_text(text, encoding="utf-8")
    with pytest.raises(PersonaError) as caught:
        Persona.open(tmp_path)
    assert caught.value.where.endswith(place)
    assert "sys." not in str(caught.value)
