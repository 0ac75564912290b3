"""The examples run as they are printed, one after the other, on a tiny model."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest

from personatune import persona
from personatune.data.load import to_jsonl
from tiny_models import small_talk

EXAMPLES = Path(__file__).parents[2] / "examples"
SUITE = """\
schema: persona-suite/v1
character: Dot
defaults: {samples: 1, seeds: [1], parameters: {max_new_tokens: 8}}
cases:
  - {id: rain, kind: everyday, input: "It rains and rains, what now?"}
"""


@pytest.fixture
def dot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    made = persona.create(tmp_path / "dot", display_name="Dot", train_jsonl=to_jsonl(small_talk(24)), suite_yaml=SUITE)
    with made.folder.joinpath("persona.toml").open("a", encoding="utf-8") as file:
        file.write('[generation]\nmax_new_tokens = 8\n[training]\ndevice = "cpu"\n')
    return made.folder


def test_the_examples_run_one_after_the_other(dot, tiny_gemma, monkeypatch, capsys):
    def run(name: str, *arguments: object) -> str:
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        try:
            runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
        except SystemExit as ended:
            assert not ended.code
        return capsys.readouterr().out

    assert "24 conversations" in run("check_data", dot / "train.jsonl")
    assert "probe replies stopped" in run("train_run", dot, "--model", tiny_gemma)
    assert "Dot: " in run("talk_to_run", dot, "Hello!", "And now?", "--as", "r1")
    assert "Nine in ten replies" in run("sweep_run", dot, "--as", "r1", "--prompts", "1")
    assert "dot@r1" in run("compare_contestants", dot, "base", "r1", "--report", dot / "report.html")
    assert (dot / "report.html").stat().st_size > 0
    assert "r1 finished" in run("read_store", dot)


def test_there_is_no_example_that_is_not_run():
    source = Path(__file__).read_text("utf-8")

    assert [path.name for path in EXAMPLES.glob("*.py") if f'run("{path.stem}"' not in source] == []
