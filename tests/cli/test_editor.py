"""Whatever the author does to the comments below a reply, none of them becomes part of it."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import pytest

from personatune.cli.editor import edit

ABOUT = ["pip@s1, said by pip@r1, to this:", "", "user: Is it\nraining?"]
WITHOUT = {
    "the first": "lines = [line for line in lines if '>8' not in line]",
    "the first two": "lines = [line for line in lines if '>8' not in line and 'Write above' not in line]",
    "those that explain": "told = ('>8', 'Write above', 'What is below')\n"
    "lines = [line for line in lines if not any(said in line for said in told)]",
    "all": "lines = lines[:next(at for at, line in enumerate(lines) if '>8' in line)]",
    "none": "pass",
}


@pytest.fixture
def editor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Makes the editor one that runs Python over `lines`, those of the file."""

    def use(code: str) -> None:
        script = tmp_path / "an editor.py"
        script.write_text(
            "import pathlib, sys\npath = pathlib.Path(sys.argv[-1])\n"
            f"lines = path.read_text('utf-8').split('\\n')\n{code}\npath.write_text('\\n'.join(lines), 'utf-8')\n",
            "utf-8",
        )
        monkeypatch.setenv("VISUAL", shlex.join([sys.executable, str(script)]))

    return use


@pytest.mark.parametrize("deleted", WITHOUT)
@pytest.mark.parametrize("text", ["Big paws promise.", "# Ein Titel\n\nJa.", "- one\n#", "雨です。\u2028はい。"])
def test_deleted_comment_lines_leave_no_others_behind(text, deleted, editor):
    editor(WITHOUT[deleted])
    assert edit(text, ABOUT) == text
    editor("lines.insert(1, '# Mine')\n" + WITHOUT[deleted])
    first, *rest = text.split("\n")
    assert edit(text, ABOUT) == "\n".join([first, "# Mine", *rest])


@pytest.mark.parametrize("text", ["One.\r\nTwo.", "One.\rTwo.", "Half \ud83d of it.", "One.\x0bTwo.\x1eThree.\x85"])
def test_a_text_that_a_file_cannot_hold_is_still_unchanged(text, editor):
    editor("pass")
    assert edit(text, ABOUT) == text.strip()
