"""`make results` trains what it is asked for and keeps one row for each network."""

import csv

import pytest

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
