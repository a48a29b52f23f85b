"""Train on the whole real data sets and record what came out: `make results`.

Takes minutes per network. Each row of results/mnist.csv is one run with its conditions; a
network that is trained again replaces its row. `make results NETWORK=pytorch/lenet` trains
one. The data come from COURSE_DATA_DIR or are downloaded.
"""

import math
import os
import platform
import sys
import time
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import version
from typing import NamedTuple

from files import ROOT, read_csv, write_csv

PATH = ROOT / "results" / "mnist.csv"
SEED = 0


class Run(NamedTuple):
    """How a network is trained: its builder, and the settings of the training loop."""

    build: Callable
    epochs: int
    lr: float
    batch_size: int = 128


class Outcome(NamedTuple):
    """What came out: trained values, and the share of wrong answers in evaluation mode."""

    parameters: int
    training_error: float
    test_error: float


def builder(half: str, name: str, **arguments) -> Callable:
    """Return a function that builds a network of one half and imports only that half."""
    return lambda: getattr(import_module(f"course_utils.{half}"), name)(**arguments)


def quarter(**arguments) -> Callable:
    """Return a function that builds chapter 10's network with a quarter of its width."""

    def build():
        from course_utils.tf.bottleneck_resnet import QUARTER_BLOCKS, bottleneck_resnet

        return bottleneck_resnet(blocks=QUARTER_BLOCKS, **arguments)

    return build


PYTORCH = {
    "BN-LeNet": Run(builder("pt", "BNLeNet"), epochs=5, lr=0.1),
    "ResNet-18": Run(builder("pt", "resnet18"), epochs=3, lr=0.05),
}
TENSORFLOW = {
    "bottleneck ResNet": Run(builder("tf", "bottleneck_resnet"), epochs=3, lr=1e-3),
    "bottleneck ResNet, 1/4 width": Run(quarter(), epochs=3, lr=1e-3),
    "bottleneck ResNet, 1/4 width, batch norm": Run(
        quarter(batch_norm=True, he_init=True), epochs=3, lr=1e-3
    ),
    "pre-activation ResNet": Run(builder("tf", "preact_resnet"), epochs=3, lr=1e-3),
    "VGG-16": Run(builder("tf", "vgg16"), epochs=3, lr=1e-4),
    "VGG-16, 1/4 width": Run(builder("tf", "vgg16", width=16, hidden=256), epochs=3, lr=3e-4),
}


def train(half, run: Run, data, parameters: Callable) -> Outcome:
    """Train with one half of the course; `parameters` counts a model's trained values."""
    model = run.build()
    half.fit(model, data, epochs=run.epochs, lr=run.lr, batch_size=run.batch_size, seed=SEED)
    _, trained = half.evaluate(model, data.x_train, data.y_train)
    _, tested = half.evaluate(model, data.x_test, data.y_test)
    return Outcome(parameters(model), 1 - trained, 1 - tested)


def train_pytorch(run: Run, data) -> Outcome:
    """Train with SGD and momentum."""
    import torch

    from course_utils import pt

    torch.manual_seed(SEED)
    return train(pt, run, data, lambda model: sum(p.numel() for p in model.parameters()))


def train_tensorflow(run: Run, data) -> Outcome:
    """Train with Adam."""
    import keras

    from course_utils import tf

    def parameters(model):
        return sum(math.prod(v.shape) for v in model.trainable_variables)

    keras.utils.set_random_seed(SEED)
    return train(tf, run, data, parameters)


FRAMEWORKS = {
    "pytorch": (PYTORCH, train_pytorch, "torch"),
    "tensorflow": (TENSORFLOW, train_tensorflow, "tensorflow"),
}


def row(framework: str, network: str, data) -> dict:
    """Train one network and return its row."""
    runs, train_one, package = FRAMEWORKS[framework]
    run = runs[network]
    start = time.perf_counter()
    outcome = train_one(run, data)
    minutes = (time.perf_counter() - start) / 60
    return {
        "framework": framework,
        "network": network,
        "parameters": outcome.parameters,
        "epochs": run.epochs,
        "batch size": run.batch_size,
        "learning rate": run.lr,
        "seed": SEED,
        "training error": f"{outcome.training_error:.2%}",
        "test error": f"{outcome.test_error:.2%}",
        "test accuracy": f"{1 - outcome.test_error:.2%}",
        "minutes": f"{minutes:.1f}",
        "machine": f"{os.cpu_count()} cores, {platform.machine()}",
        "versions": f"{package} {version(package)}, Python {platform.python_version()}",
    }


def record(new: dict) -> None:
    """Put a row into results/mnist.csv in the place of an older one of the same network."""
    rows = {(old["framework"], old["network"]): old for old in read_csv(PATH)}
    rows[new["framework"], new["network"]] = new
    write_csv(PATH, list(new), rows.values())


def choose(wanted: str) -> list[tuple[str, str]]:
    """The (framework, network) pairs, or the one written as pytorch/ResNet-18."""
    known = [(name, network) for name in FRAMEWORKS for network in FRAMEWORKS[name][0]]
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
