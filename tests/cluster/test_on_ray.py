"""A plan on a Ray cluster of two nodes, one of which is killed while it trains: all of it finishes, and comes home.

Run by `make ray-check`: Ray talks through sockets and is no part of what `make test` installs.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import psutil
import pytest

from personatune import cli
from personatune import persona as personas
from personatune.data.load import to_jsonl
from personatune.persona import Persona
from personatune.store.store import Store
from tiny_models import build_gemma, small_talk

ray = pytest.importorskip("ray")
pytestmark = [pytest.mark.enable_socket, pytest.mark.filterwarnings("ignore")]  # Ray has its own ideas about both

PLAN = """\
personas = ["dot"]
seeds = "1..4"
[recipes.tiny]
model = "tiny-gemma"
device = "cpu"
dtype = "fp32"
epochs = 80
lora_rank = 2
probes = 2
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    build_gemma(tmp_path / "tiny-gemma")
    personas.create(tmp_path / "dot", display_name="Dot", train_jsonl=to_jsonl(small_talk(20)), suite_yaml=None)
    (tmp_path / "plan.toml").write_text(PLAN, "utf-8")
    return tmp_path


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[object]:
    """Two nodes of two cores each on this machine, as two machines would be."""
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "object_store_memory": 80 << 20})
    try:
        yield made
    finally:
        ray.shutdown()
        made.shutdown()


def trainings() -> list[psutil.Process]:
    """The trainings that workers have begun, the longest at work first."""
    found = []
    for process in psutil.process_iter(["cmdline", "create_time"]):
        words = process.info["cmdline"] or []
        if "personatune" in words and "train" in words and "dot" in words:
            found.append(process)
    return sorted(found, key=lambda process: process.info["create_time"])


def test_four_seeds_finish_though_a_node_and_a_training_are_killed(place: Path, cluster, capsys):
    second = cluster.add_node(num_cpus=2, object_store_memory=80 << 20)
    ray.init(address=cluster.address, log_to_driver=False)
    killed: list[str] = []

    def kill() -> None:
        deadline = time.monotonic() + 300
        while len(trainings()) < 4 and time.monotonic() < deadline:
            time.sleep(0.2)
        time.sleep(5)
        cluster.remove_node(second, allow_graceful=False)
        killed.append("a node with two trainings")
        if there := trainings():
            there[0].kill()
            killed.append("one training")

    killer = Thread(target=kill)
    killer.start()
    code = cli.run(["plan", "run", str(place / "plan.toml"), "--on", "ray", "--json"])
    killer.join()

    shown = json.loads(capsys.readouterr().out)
    assert code == 0, shown
    assert killed == ["a node with two trainings", "one training"]
    assert [(row["seed"], row["status"]) for row in shown["trainings"]] == [(n, "finished") for n in (1, 2, 3, 4)]
    persona = Persona.open(place / "dot")
    assert sorted(path.name for path in persona.runs_folder.iterdir()) == ["r1", "r2", "r3", "r4"]
    with Store.open(persona.store_file) as store:
        runs = store.runs()
        assert {run.status for run in runs} == {"finished"}
        assert len(store.dataset_rows(str(runs[0].dataset))) == 20
        assert sorted({str(sample.run) for sample in store.samples()}) == ["r1", "r2", "r3", "r4"]
    for row in shown["trainings"]:
        made = json.loads((Path(row["folder"]) / "manifest.json").read_text("utf-8"))
        assert made["trained_on"].startswith("ray: ")
        assert (made["run"], made["seed"]) == (row["run"], row["seed"])

    again = cli.run(["plan", "run", str(place / "plan.toml"), "--json"])  # here, without Ray: nothing is missing

    assert again == 0
    assert [row["run"] for row in json.loads(capsys.readouterr().out)["trainings"]] == [
        row["run"] for row in shown["trainings"]
    ]
