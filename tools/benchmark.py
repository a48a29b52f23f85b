"""Time the ResNetV2 networks and record it: `python tools/benchmark.py`.

Takes about 20 minutes on two quiet cores. Each case runs alone in a fresh process, so that
its peak memory is its own. Each row of results/benchmark.csv is one case with its
conditions, each row of results/benchmark_pairs.csv our network and Keras's in turns. A row
is written as soon as it is measured and replaces the older one of the same case.

`python tools/benchmark.py NAME` runs one case, and `missing` those without a row.
"""

import csv
import json
import math
import os
import platform
import resource
import statistics
import subprocess
import sys
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from execute import write_csv
from files import ROOT

RESULTS = ROOT / "results"
CLASSES = 1000
WORK = 200e9  # multiply-adds to be timed in each case, if 5 to 20 batches come to that
BURN_IN = 2
ROUNDS = 12  # of a pair
FORWARD, BOTH = "forward", "forward-backward"
KIBIBYTES = 1 if sys.platform != "darwin" else 1 / 1024  # the unit of ru_maxrss; macOS: bytes


class Case(NamedTuple):
    """One network on random images, one direction, run in one way."""

    network: str  # "slim", the course's, or "keras", of keras.applications
    depth: int
    size: int
    batch: int
    direction: str
    run_as: str = "tf.function"

    @property
    def name(self) -> str:
        return "/".join((f"{self.network}-{self.depth}", *map(str, self[2:])))


def cases() -> list[Case]:
    """All cases, none of them twice."""
    depths, ways = (50, 101, 152, 200), (FORWARD, BOTH)
    found = [
        Case("slim", depth, 224, batch, direction)
        for depth in depths
        for batch in (1, 8)
        for direction in ways
    ]
    found += [Case("slim", 50, 224, batch, FORWARD) for batch in (4, 16)]
    found += [Case("slim", 50, size, 8, direction) for size in (64, 128) for direction in ways]
    found += [Case("keras", depth, 224, 8, FORWARD) for depth in (50, 101, 152)]
    found += [Case("keras", 50, 224, 8, BOTH)]
    return found + [
        Case("slim", 50, 224, 8, direction, run_as)
        for run_as in ("eager", "XLA")
        for direction in ways
    ]


def pairs() -> list[Case]:
    """What is also timed in turns with Keras's network."""
    return [Case("pair", 50, 224, 8, direction) for direction in (FORWARD, BOTH)]


def build(network: str, depth: int, size: int):
    """Return a network for images of one size that gives logits."""
    if network == "slim":
        from course_utils.tf import slim

        blocks = slim.blocks_of_depth(depth)
        return slim.resnet_v2(
            blocks, CLASSES, input_shape=(size, size, 3), spatial_squeeze=True
        )
    import keras

    return getattr(keras.applications, f"ResNet{depth}V2")(
        weights=None, classifier_activation=None, input_shape=(size, size, 3), classes=CLASSES
    )


def multiply_adds(model) -> int:
    """Return the multiply-adds of one image through convolutions and dense layers."""
    total = 0
    for layer in model.layers:
        if hasattr(layer, "kernel"):
            height, width = layer.output.shape[1:-1] or (1, 1)
            total += height * width * math.prod(layer.kernel.shape)
    return total


def make_step(case: Case, model):
    """Return a function without arguments that runs one batch and returns what to wait for."""
    import tensorflow as tf

    images = tf.random.stateless_uniform((case.batch, case.size, case.size, 3), seed=(0, 1))
    labels = tf.range(case.batch)

    def forward(images, labels):
        return model(images, training=False)

    def forward_backward(images, labels):
        with tf.GradientTape() as tape:
            logits = model(images, training=True)
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
            loss = tf.reduce_mean(losses)
        gradients = tape.gradient(loss, model.trainable_variables)
        # A graph drops what nobody asks for: without the norm, the gradients.
        return loss, tf.linalg.global_norm(gradients)

    run = forward if case.direction == FORWARD else forward_backward
    if case.run_as != "eager":
        run = tf.function(run, jit_compile=case.run_as == "XLA")
    return partial(run, images, labels)


def seconds(value: float) -> str:
    """Write a time with four digits."""
    return f"{value:.4g}"


def peak_memory() -> float:
    """Return the largest resident memory of this process so far, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * KIBIBYTES / 1024


def conditions() -> dict:
    """Return on what was measured."""
    threads = os.environ.get("TF_NUM_INTRAOP_THREADS") or os.cpu_count()
    one_dnn = "off" if os.environ.get("TF_ENABLE_ONEDNN_OPTS") == "0" else "as installed"
    packages = ", ".join(f"{name} {version(name)}" for name in ("tensorflow", "keras"))
    return {
        "threads": threads,
        "machine": f"{os.cpu_count()} cores, {platform.machine()}",
        "versions": f"{packages}, oneDNN {one_dnn}, Python {platform.python_version()}",
    }


def measure(case: Case) -> dict:
    """Time one case in this process and return its row."""
    from course_utils.timing import time_run

    model = build(case.network, case.depth, case.size)
    work = case.batch * multiply_adds(model)
    batches = min(max(round(WORK / work / (1 if case.direction == FORWARD else 3)), 5), 20)
    timed = time_run(make_step(case, model), num_batches=batches, burn_in=BURN_IN)
    return {
        "case": case.name,
        "first call (s)": seconds(timed.first),
        "mean (s)": seconds(timed.mean),
        "sd (s)": seconds(timed.sd),
        "median (s)": seconds(timed.median),
        "fastest (s)": seconds(timed.fastest),
        "batches": batches,
        "forward multiply-adds of an image": work // case.batch,
        "peak memory (MiB)": round(peak_memory()),
        **conditions(),
    }


def measure_pair(case: Case) -> dict:
    """Time our network and Keras's in turns, round by round, and return the row."""
    from course_utils.timing import time_in_turns

    steps = {name: make_step(case, build(name, *case[1:3])) for name in ("slim", "keras")}
    timed = time_in_turns(steps, rounds=ROUNDS, burn_in=BURN_IN)
    together = zip(timed["slim"].durations, timed["keras"].durations, strict=True)
    quartiles = statistics.quantiles([ours / theirs for ours, theirs in together], n=4)
    names = ("lower quartile of the ratios", "median ratio", "upper quartile of the ratios")
    return {
        "case": case.name,
        "slim, median (s)": seconds(timed["slim"].median),
        "keras, median (s)": seconds(timed["keras"].median),
        **{name: f"{ratio:.3f}" for name, ratio in zip(names, quartiles, strict=True)},
        "rounds": ROUNDS,
        **conditions(),
    }


def in_fresh_process(case: Case) -> dict:
    """Measure in a process of its own, which prints the row in its last line."""
    command = [sys.executable, __file__, "--measure", case.name]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines()[-5:]
        raise SystemExit("\n  ".join([f"{case.name} did not run:", *lines]))
    return json.loads(done.stdout.splitlines()[-1])


def path_of(case: Case) -> Path:
    """The table in which a case has its row."""
    return RESULTS / ("benchmark_pairs.csv" if case.network == "pair" else "benchmark.csv")


def recorded(path: Path) -> dict[str, dict]:
    """Return name -> row of a table, or nothing if there is none yet."""
    if not path.exists():
        return {}
    with path.open(newline="", encoding="utf-8") as file:
        return {row["case"]: row for row in csv.DictReader(file)}


def record(case: Case, new: dict) -> None:
    """Put a row into its table, in the place of an older one; rows keep the cases' order."""
    rows = recorded(path_of(case)) | {case.name: new}
    names = [known.name for known in cases() + pairs()]
    write_csv(path_of(case), list(new), [rows[name] for name in names if name in rows])


def choose(wanted: str) -> list[Case]:
    """All cases, those without a row for `missing`, or the one of that name."""
    known = cases() + pairs()
    if wanted == "missing":
        return [case for case in known if case.name not in recorded(path_of(case))]
    chosen = [case for case in known if wanted in ("", case.name)]
    if not chosen:
        names = "\n  ".join(case.name for case in known)
        raise SystemExit(f"there is no case {wanted!r}; there are:\n  {names}")
    return chosen


def main(wanted: str = "", name: str = "") -> int:
    """Measure what is asked for, and write each row as soon as it is there."""
    if wanted == "--measure":
        (case,) = choose(name)
        print(json.dumps(measure_pair(case) if case.network == "pair" else measure(case)))
        return 0
    for case in choose(wanted):
        new = in_fresh_process(case)
        record(case, new)
        print(", ".join(f"{column} {value}" for column, value in new.items()), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:3]))
