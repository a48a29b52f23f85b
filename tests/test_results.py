"""`make results` trains what it is asked for and keeps one row for each network.

The differences from the genuine slim are recorded by it too.
"""

import csv
import os
from pathlib import Path

import pytest
import slim_oracle

import results
from course_utils.data import load_dataset
from results import Run


@pytest.fixture
def small(tmp_path, monkeypatch):
    """Two tiny networks on the digits in the place of the real runs, and a file of rows."""
    from torch import nn

    def build():
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))

    runs = {"A": Run(build, epochs=2, lr=0.1), "B": Run(build, epochs=1, lr=0.1)}

    digits = load_dataset("digits")
    monkeypatch.setattr(results, "PATH", tmp_path / "mnist.csv")
    monkeypatch.setattr(
        results, "FRAMEWORKS", {"pytorch": (runs, results.train_pytorch, "torch")}
    )
    monkeypatch.setattr("course_utils.data.load_dataset", lambda name: digits)
    return tmp_path / "mnist.csv"


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_every_network_has_a_row_with_its_conditions(small):
    assert results.main("") == 0
    first, second = rows(small)
    assert (first["network"], first["epochs"], second["network"]) == ("A", "2", "B")
    assert first["parameters"] == "650"
    accuracy, error = (
        float(first[f"test {name}"].rstrip("%")) for name in ("accuracy", "error")
    )
    assert 50 < accuracy <= 100
    assert accuracy + error == pytest.approx(100)
    assert all(value for row in (first, second) for value in row.values())


def test_one_network_again_replaces_its_row_only(small):
    results.main("")
    before = small.read_text()
    changed = before.replace("pytorch,A,650", "pytorch,A,1").replace(",B,650", ",B,2")
    small.write_text(changed)
    assert results.main("pytorch/a") == 0
    assert [row["parameters"] for row in rows(small)] == ["650", "2"]


def test_an_unknown_network_is_named(small):
    with pytest.raises(SystemExit, match="no network 'C'; there are: pytorch/A, pytorch/B"):
        results.main("C")
    assert not small.exists()


def test_the_real_networks_are_listed():
    names = {"/".join(pair) for pair in results.choose("")}
    assert {"pytorch/BN-LeNet", "pytorch/ResNet-18"} <= names
    assert {
        f"tensorflow/{name}" for name in ("pre-activation ResNet", "VGG-16, 1/4 width")
    } <= names


@pytest.mark.parametrize("framework", results.FRAMEWORKS)
def test_every_real_network_can_be_built(framework):
    for run in results.FRAMEWORKS[framework][0].values():
        assert callable(run.build())


# --- the comparison with the genuine slim -------------------------------------------------

ORACLE = os.environ.get("COURSE_ORACLE_DIR")


def test_recorded_differences_from_slim_are_small():
    table = rows(slim_oracle.PATH)
    assert len(table) == 23
    assert all(float(row[column]) < 1e-5 for row in table for column in slim_oracle.INPUTS)


@pytest.mark.skipif(not ORACLE, reason="COURSE_ORACLE_DIR is not set: nothing to compare with")
def test_recorded_differences_are_those_of_now():
    table, now = rows(slim_oracle.PATH), slim_oracle.table(Path(ORACLE, "tiny"))
    assert [row["end point"] for row in table] == [row["end point"] for row in now]
    assert all(float(row[column]) < 1e-5 for row in now for column in slim_oracle.INPUTS)


def test_without_slims_files_the_record_stays(monkeypatch, capsys):
    before = slim_oracle.PATH.read_bytes()
    monkeypatch.delenv("COURSE_ORACLE_DIR", raising=False)
    assert slim_oracle.main() == 0
    assert "is not set" in capsys.readouterr().out
    assert slim_oracle.PATH.read_bytes() == before
