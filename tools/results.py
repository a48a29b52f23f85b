"""Train on the whole real data sets and record what came out: `make results`.

Takes minutes per network. Each row of results/mnist.csv is one run with its conditions; a
network that is trained again replaces its row. `make results NETWORK=pytorch/lenet` trains
one. The data come from COURSE_DATA_DIR or are downloaded.
"""

import csv
import os
import platform
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from typing import NamedTuple

from execute import write_csv
from files import ROOT

PATH = ROOT / "results" / "mnist.csv"
SEED = 0


class Run(NamedTuple):
    """How a network is trained: its builder, and the settings of the training loop."""

    build: Callable
    epochs: int
    lr: float
    batch_size: int = 128


def pytorch_runs() -> dict[str, Run]:
    """The PyTorch networks, built when they are asked for."""
    from course_utils import pt

    return {
        "BN-LeNet": Run(pt.BNLeNet, epochs=5, lr=0.1),
        "ResNet-18": Run(pt.resnet18, epochs=3, lr=0.05),
    }


def train_pytorch(run: Run, data) -> tuple[dict, int]:
    """Return the history of a run and the network's parameters."""
    import torch

    from course_utils import pt

    torch.manual_seed(SEED)
    model = run.build()
    history = pt.fit(
        model, data, epochs=run.epochs, lr=run.lr, batch_size=run.batch_size, seed=SEED
    )
    return history, sum(p.numel() for p in model.parameters())


FRAMEWORKS = {"pytorch": (pytorch_runs, train_pytorch, "torch")}


def row(framework: str, network: str, data) -> dict:
    """Train one network and return its row."""
    runs, train, package = FRAMEWORKS[framework]
    run = runs()[network]
    start = time.perf_counter()
    history, parameters = train(run, data)
    minutes = (time.perf_counter() - start) / 60
    return {
        "framework": framework,
        "network": network,
        "parameters": parameters,
        "epochs": run.epochs,
        "batch size": run.batch_size,
        "learning rate": run.lr,
        "seed": SEED,
        "training accuracy": f"{history['train_accuracy'][-1]:.4f}",
        "test accuracy": f"{history['test_accuracy'][-1]:.4f}",
        "minutes": f"{minutes:.1f}",
        "machine": f"{os.cpu_count()} cores, {platform.machine()}",
        "versions": f"{package} {version(package)}, Python {platform.python_version()}",
    }


def record(new: dict) -> None:
    """Put a row into results/mnist.csv in the place of an older one of the same network."""
    rows = {}
    if PATH.exists():
        with PATH.open(newline="", encoding="utf-8") as file:
            rows = {(old["framework"], old["network"]): old for old in csv.DictReader(file)}
    rows[new["framework"], new["network"]] = new
    write_csv(PATH, list(new), rows.values())


def choose(wanted: str) -> list[tuple[str, str]]:
    """The (framework, network) pairs, or the one written as pytorch/ResNet-18."""
    known = [(name, network) for name in FRAMEWORKS for network in FRAMEWORKS[name][0]()]
    chosen = [pair for pair in known if not wanted or "/".join(pair).lower() == wanted.lower()]
    if not chosen:
        names = ", ".join("/".join(pair) for pair in known)
        raise SystemExit(f"there is no network {wanted!r}; there are: {names}")
    return chosen


def main(wanted: str = "") -> int:
    """Train the networks that are asked for, and write each row as soon as it is there."""
    from course_utils.data import load_dataset

    chosen = choose(wanted)
    data = load_dataset("mnist")
    for framework, network in chosen:
        new = row(framework, network, data)
        record(new)
        print(", ".join(f"{name} {value}" for name, value in new.items()), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:2]))
