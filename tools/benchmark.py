"""Time the ResNetV2 networks and record it: `python tools/benchmark.py`.

Takes about 20 minutes on two quiet cores. Each case runs alone in a fresh process, so that
its peak memory is its own. Each row of results/benchmark.csv is one case, each row of
results/benchmark_pairs.csv our network and Keras's in turns. Both name the run they come
from, and results/benchmark_runs.csv has the machine and versions of each run. Every single
duration is kept in results/benchmark_durations.csv. A row is written as soon as it is
measured and replaces the older one of the same case.

`python tools/benchmark.py NAME` runs one case, and `missing` those without a row.
"""

import json
import math
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from functools import partial
from importlib.metadata import version
from itertools import count
from pathlib import Path
from typing import NamedTuple

from files import ROOT, read_csv, write_csv

RESULTS = ROOT / "results"
TABLES = ("benchmark.csv", "benchmark_pairs.csv")
CLASSES = 1000
WORK = 800e9  # multiply-adds to be timed in each case, if 10 to 20 batches come to that
BURN_IN = 2
ROUNDS = 20  # of a pair
SKIPPED = 5  # of the ratios at either end: the others span an interval for the true median
RATE = 1e-3  # of the update in a training step
FORWARD, BOTH, STEP = "forward", "forward-backward", "training step"
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
    return [Case("pair", 50, 224, 8, direction) for direction in (FORWARD, STEP)]


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
    import keras
    import tensorflow as tf

    images = tf.random.stateless_uniform((case.batch, case.size, case.size, 3), seed=(0, 1))
    labels = tf.range(case.batch)
    optimizer = keras.optimizers.SGD(RATE)
    optimizer.build(model.trainable_variables)

    def forward(images, labels):
        return model(images, training=False)

    def forward_backward(images, labels):
        # Without the L2 penalties of slim's layers: Keras's network has none.
        with tf.GradientTape() as tape:
            logits = model(images, training=True)
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
            loss = tf.reduce_mean(losses)
        gradients = tape.gradient(loss, model.trainable_variables)
        if case.direction == STEP:
            optimizer.apply(gradients, model.trainable_variables)
            return loss
        # A graph drops what nobody asks for: without the norm, the gradients.
        return loss, tf.linalg.global_norm(gradients)

    run = forward if case.direction == FORWARD else forward_backward
    if case.run_as != "eager":
        run = tf.function(run, jit_compile=case.run_as == "XLA")
    return partial(run, images, labels)


def seconds(value: float) -> str:
    """Write a time with four digits."""
    return f"{value:.4g}"


def span(values, digits: str = ".4g") -> str:
    """Write the smallest and the largest value."""
    return f"{min(values):{digits}} to {max(values):{digits}}"


def peak_memory() -> float:
    """Return the largest resident memory of this process so far, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * KIBIBYTES / 1024


def processor() -> str:
    """Return the model of the processor as the system calls it."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return " ".join([*models[:1], platform.machine()])


def usable_cores() -> int:
    """Return how many cores this process may use, which can be fewer than there are."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count()


def conditions() -> dict:
    """Return on what a run measures."""
    one_dnn = "off" if os.environ.get("TF_ENABLE_ONEDNN_OPTS") == "0" else "as installed"
    packages = ", ".join(f"{name} {version(name)}" for name in ("tensorflow", "keras"))
    return {
        "processor": processor(),
        "usable cores": usable_cores(),
        "threads": os.environ.get("TF_NUM_INTRAOP_THREADS") or "one a core",
        "load before": f"{os.getloadavg()[0]:.2f}",
        "versions": f"{packages}, oneDNN {one_dnn}, Python {platform.python_version()}",
    }


def busy_seconds() -> float:
    """Return for how long the cores of this machine have worked, summed; NaN if unknown."""
    stat = Path("/proc/stat")
    if not stat.exists():
        return math.nan
    user, nice, system, _, _, *interrupts = map(int, stat.read_text().split()[1:9])
    return (user + nice + system + sum(interrupts)) / os.sysconf("SC_CLK_TCK")


def clocks() -> tuple[float, float]:
    """Return the time, and the work of all other processes up to it."""
    return time.perf_counter(), busy_seconds() - time.process_time()


def others(before: tuple[float, float]) -> str:
    """Return how many cores the other processes kept busy since `before`, on average."""
    elapsed, work = (now - then for now, then in zip(clocks(), before, strict=True))
    return "unknown" if math.isnan(work) else f"{max(work / elapsed, 0):.2f}"


def kept(case: Case, timed: dict) -> list[dict]:
    """Return the rows of results/benchmark_durations.csv: all seconds, in their order."""
    return [
        {
            "case": case.name,
            "network": name,
            "first call (s)": seconds(one.first),
            "seconds of each batch": " ".join(map(seconds, one.durations)),
        }
        for name, one in timed.items()
    ]


def measure(case: Case) -> tuple[dict, list[dict]]:
    """Time one case in this process; return its row and its durations."""
    from course_utils.timing import time_run

    model = build(case.network, case.depth, case.size)
    work = case.batch * multiply_adds(model)
    batches = min(max(round(WORK / work / (1 if case.direction == FORWARD else 3)), 10), 20)
    before = clocks()
    timed = time_run(make_step(case, model), num_batches=batches, burn_in=BURN_IN)
    row = {
        "case": case.name,
        "million multiply-adds forward, an image": round(work / case.batch / 1e6),
        "first call (s)": seconds(timed.first),
        "median (s)": seconds(timed.median),
        "quartiles (s)": span(statistics.quantiles(timed.durations, n=4)),
        "batches": batches,
        "peak memory (MiB)": round(peak_memory()),
        "cores busy with others": others(before),
    }
    return row, kept(case, {case.network: timed})


def measure_pair(case: Case) -> tuple[dict, list[dict]]:
    """Time our network and Keras's in turns, round by round; return row and durations."""
    from course_utils.timing import time_in_turns

    steps = {name: make_step(case, build(name, *case[1:3])) for name in ("slim", "keras")}
    before = clocks()
    timed = time_in_turns(steps, rounds=ROUNDS, burn_in=BURN_IN)
    together = zip(timed["slim"].durations, timed["keras"].durations, strict=True)
    ratios = sorted(ours / theirs for ours, theirs in together)
    row = {
        "case": case.name,
        "slim, median (s)": seconds(timed["slim"].median),
        "keras, median (s)": seconds(timed["keras"].median),
        "rounds": ROUNDS,
        "median of the rounds' ratios": f"{statistics.median(ratios):.3f}",
        f"{confidence():.0%} interval of that median": span(ratios[SKIPPED:-SKIPPED], ".3f"),
        "quartiles of the ratios": span(statistics.quantiles(ratios, n=4), ".3f"),
        "cores busy with others": others(before),
    }
    return row, kept(case, timed)


def confidence() -> float:
    """Return how probably the sorted ratios but for SKIPPED at either end hold the median."""
    return 1 - 2 * sum(math.comb(ROUNDS, i) for i in range(SKIPPED + 1)) / 2**ROUNDS


def in_fresh_process(case: Case) -> tuple[dict, list[dict]]:
    """Measure in a process of its own, which prints row and durations in its last line."""
    command = [sys.executable, __file__, "--measure", case.name]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines()[-5:]
        raise SystemExit("\n  ".join([f"{case.name} did not run:", *lines]))
    row, durations = json.loads(done.stdout.splitlines()[-1])
    return row, durations


def path_of(case: Case) -> Path:
    """The table in which a case has its row."""
    return RESULTS / TABLES[case.network == "pair"]


def replace(path: Path, case: Case, new: list[dict]) -> None:
    """Put rows in the place of older ones of the same case; rows keep the cases' order."""
    names = [known.name for known in cases() + pairs()]
    old = [row for row in read_csv(path) if row["case"] != case.name and row["case"] in names]
    rows = sorted([*old, *new], key=lambda row: names.index(row["case"]))
    write_csv(path, list(new[0]), rows)


def runs_in_use() -> set[str]:
    """Return the numbers of the runs that rows of the two tables come from."""
    return {row["run"] for path in TABLES for row in read_csv(RESULTS / path)}


def new_run() -> dict:
    """Return a free number and the conditions of the run that begins now."""
    number = next(str(i) for i in count(1) if str(i) not in runs_in_use())
    return {"run": number, **conditions()}


def record(case: Case, run: dict, row: dict, durations: list[dict]) -> None:
    """Write what a case has given; runs that nothing is left of go."""
    replace(RESULTS / "benchmark_durations.csv", case, durations)
    replace(path_of(case), case, [{**row, "run": run["run"]}])
    path = RESULTS / "benchmark_runs.csv"
    old = [one for one in read_csv(path) if one["run"] in runs_in_use() - {run["run"]}]
    write_csv(path, list(run), sorted([*old, run], key=lambda one: int(one["run"])))


def choose(wanted: str) -> list[Case]:
    """All cases, those without a row for `missing`, or the one of that name."""
    known = cases() + pairs()
    if wanted == "missing":
        recorded = {row["case"] for path in TABLES for row in read_csv(RESULTS / path)}
        return [case for case in known if case.name not in recorded]
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
    chosen, run = choose(wanted), new_run()
    for case in chosen:
        row, durations = in_fresh_process(case)
        record(case, run, row, durations)
        print(", ".join(f"{column} {value}" for column, value in row.items()), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:3]))
