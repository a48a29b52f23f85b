"""Compare the network of course_utils.tf.slim with what the genuine slim computed.

`COURSE_ORACLE_DIR` has a folder `tiny` with files that tf-slim 1.1.0 wrote on TensorFlow
2.12: a checkpoint, and for five inputs the values of all end points. The largest difference
of each, in standard deviations of slim's values, goes to results/slim_oracle.csv.
"""

import os
import sys
from pathlib import Path

import numpy as np
from files import ROOT, write_csv

PATH = ROOT / "results" / "slim_oracle.csv"
INPUTS = {  # column -> file of slim, side of the images, training mode
    "32x32": ("infer_32", 32, False),
    "33x33": ("infer_33", 33, False),
    "47x47": ("infer_47", 47, False),
    "64x64": ("infer_64", 64, False),
    "33x33, training": ("train_33", 33, True),
}


def differences(folder: Path, size: int, training: bool, file: Path) -> dict[str, str]:
    """Load the checkpoint and return the largest difference of each end point."""
    from course_utils.tf import slim, slim_checkpoint

    blocks = [slim.resnet_v2_block("block1", 4, 2, 2), slim.resnet_v2_block("block2", 8, 2, 1)]
    shape = (size, size, 3)
    model = slim.resnet_v2(blocks, 7, input_shape=shape, name="resnet_v2_tiny")
    slim_checkpoint.load_checkpoint(model, folder / "model.ckpt")
    with np.load(file) as values:
        found = slim.end_points(model, values["input"], training=training)
        errors = {n: np.abs(out - values[f"ep/{n}"]).max() for n, out in found.items()}
        return {n: f"{errors[n] / values[f'ep/{n}'].std():.1e}" for n in found}


def table(folder: Path) -> list[dict]:
    """Return one row for each end point, one column for each input."""
    columns = {
        column: differences(folder, size, training, folder / f"{name}.npz")
        for column, (name, size, training) in INPUTS.items()
    }
    names = columns["32x32"]
    return [
        {"end point": name.removeprefix("resnet_v2_tiny/")}
        | {column: found[name] for column, found in columns.items()}
        for name in names
    ]


def main() -> int:
    """Write the table, or say that there is nothing to compare with."""
    if not (folder := os.environ.get("COURSE_ORACLE_DIR")):
        print("COURSE_ORACLE_DIR is not set: results/slim_oracle.csv stays as it is")
        return 0
    rows = table(Path(folder, "tiny"))
    write_csv(PATH, list(rows[0]), rows)
    largest = max(float(row[column]) for row in rows for column in INPUTS)
    print(f"{len(rows)} end points, {len(INPUTS)} inputs: the largest difference is {largest}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
