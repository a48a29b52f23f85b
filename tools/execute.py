"""Run chapters and store their outputs: `make execute` or `make execute CH=03`.

A chapter runs in a fresh kernel, in the folder where it stands, as nbval runs it. Its file
changes only if every cell ran and none wrote to stderr. The measured time and the counts go
to results/chapters.csv, the versions to results/environment.csv.
"""

import os
import platform
import re
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

import nbformat
from files import ROOT, read_csv, write_csv, write_whole
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

CELL_TIMEOUT = 300  # seconds, as for nbval in the Makefile
NOT_COMPARED = {"nbval-ignore-output", "nbval-skip"}
KEPT_METADATA = {"tags", "mystnb"}
NOTEBOOK_METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    # No version: it would change with every Python.
    "language_info": {
        "file_extension": ".py",
        "mimetype": "text/x-python",
        "name": "python",
        "nbconvert_exporter": "python",
        "pygments_lexer": "ipython3",
    },
}
VERSIONS = [
    "tensorflow",
    "keras",
    "torch",
    "numpy",
    "matplotlib",
    "scikit-learn",
    "jupyter-book",
    "nbval",
]
COLUMNS = ["chapter", "seconds", "code cells", "cells that print", "cells compared"]
ANSI = re.compile(r"\x1b\[[0-9;]*m")


class ChapterError(Exception):
    """A chapter that did not run as it must; the text says where and why."""


def code_cells(notebook) -> list:
    """The code cells in order."""
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def tags(cell) -> set[str]:
    """The tags of a cell."""
    return set(cell.metadata.get("tags", []))


def prints(cell) -> bool:
    """Whether a code cell has an output of any kind."""
    return bool(cell.outputs)


def is_compared(cell) -> bool:
    """Whether nbval compares the output of this cell."""
    return not tags(cell) & NOT_COMPARED


def counts(notebook) -> dict[str, int]:
    """The numbers of code cells, of those that print and of those that nbval compares."""
    cells = code_cells(notebook)
    printing = [cell for cell in cells if prints(cell)]
    return {
        "code cells": len(cells),
        "cells that print": len(printing),
        "cells compared": sum(map(is_compared, printing)),
    }


def run(notebook, folder: Path) -> float:
    """Run all cells in a fresh kernel and return the seconds; outputs land in the cells.

    Raises ChapterError with the number of the cell and the last lines of its traceback.
    """
    client = NotebookClient(
        notebook,
        timeout=CELL_TIMEOUT,
        kernel_name="python3",
        resources={"metadata": {"path": str(folder)}},
        record_timing=False,
        coalesce_streams=True,
        # TensorFlow's native log lines go to the kernel's own stderr, not into the cells.
        extra_arguments=["--IPKernelApp.capture_fd_output=False"],
    )
    started = []
    client.on_cell_start = lambda cell, cell_index: started.append(cell_index)
    with tempfile.TemporaryFile("w+", errors="replace") as log:
        start = time.perf_counter()
        try:
            client.execute(stderr=log)
        except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
            where = f"cell {started[-1]}" if started else "before the first cell"
            lines = ANSI.sub("", str(error)).strip().splitlines()
            if isinstance(error, DeadKernelError):
                log.seek(0)
                lines += log.read().splitlines()[-10:]
            raise ChapterError("\n  ".join([f"{where}:", *lines[-15:]])) from None
        return time.perf_counter() - start


def tidy(notebook) -> None:
    """Normalise metadata and tracebacks so that a second run writes the same bytes."""
    notebook.metadata = nbformat.from_dict(NOTEBOOK_METADATA)
    for cell in notebook.cells:
        for key in set(cell.metadata) - KEPT_METADATA:
            del cell.metadata[key]
    for cell in code_cells(notebook):
        for output in cell.outputs:
            if output.output_type == "error":  # drop the frames inside the libraries
                output.traceback = [
                    frame
                    for frame in output.traceback
                    if not ANSI.sub("", frame).lstrip().startswith("File ")
                ]


def check(notebook) -> None:
    """Raise ChapterError if a cell was left out or wrote to stderr."""
    for expected, cell in enumerate(code_cells(notebook), start=1):
        number = notebook.cells.index(cell)
        if cell.execution_count != expected:
            raise ChapterError(f"cell {number}: did not run (is it empty? then remove it)")
        for output in cell.outputs:
            if output.output_type == "stream" and output.name == "stderr":
                last = "\n  ".join(output.text.strip().splitlines()[-5:])
                raise ChapterError(f"cell {number}: writes to stderr, mend that:\n  {last}")


def execute(path: Path) -> dict:
    """Run one chapter, store its outputs and return its row for chapters.csv."""
    notebook = nbformat.read(path, as_version=4)
    notebook.nbformat_minor = max(notebook.nbformat_minor, 5)  # 4.5: cells have ids
    seconds = run(notebook, path.parent)
    tidy(notebook)
    check(notebook)
    nbformat.validate(notebook)
    write_whole(path, (nbformat.writes(notebook) + "\n").encode())
    return {"chapter": path.stem, "seconds": round(seconds), **counts(notebook)}


def record(row: dict, root: Path) -> None:
    """Put one chapter's row into results/chapters.csv; rows of lost chapters go."""
    path = root / "results" / "chapters.csv"
    rows = {old["chapter"]: old for old in read_csv(path)}
    rows[row["chapter"]] = row
    present = [name for name in sorted(rows) if (root / f"chapters/{name}.ipynb").exists()]
    write_csv(path, COLUMNS, [rows[name] for name in present])


def record_environment(root: Path) -> None:
    """Write results/environment.csv: what the stored outputs were made with."""
    items = {"python": platform.python_version()}
    items |= {name: version(name) for name in VERSIONS}
    items |= {"cores": os.cpu_count(), "architecture": platform.machine()}
    rows = [{"item": item, "value": value} for item, value in items.items()]
    write_csv(root / "results" / "environment.csv", ["item", "value"], rows)


def choose(numbers: list[str], root: Path) -> list[Path]:
    """The chapters with these numbers, or all of them."""
    chapters = sorted((root / "chapters").glob("[0-9][0-9]_*.ipynb"))
    if not numbers:
        return chapters
    chosen = [path for path in chapters if path.name[:2] in numbers]
    unknown = set(numbers) - {path.name[:2] for path in chosen}
    if unknown:
        known = ", ".join(path.name[:2] for path in chapters) or "none"
        raise ChapterError(f"no chapter {', '.join(sorted(unknown))}; there are: {known}")
    return chosen


def main(numbers: list[str], root: Path = ROOT) -> int:
    """Run the chosen chapters; 1 if one of them failed or there is none."""
    if os.environ.get("OMP_NUM_THREADS") != "1":
        print("run this as `make execute CH=03`, which sets the threads as nbval has them")
        return 1
    try:
        chapters = choose(numbers, root)
    except ChapterError as error:
        print(error)
        return 1
    failed = 0
    for path in chapters:
        try:
            row = execute(path)
        except ChapterError as error:
            print(f"{path.name}, {error}")
            failed += 1
        else:
            record(row, root)
            print(", ".join(f"{name} {value}" for name, value in row.items()), flush=True)
    if len(chapters) > failed:
        record_environment(root)
    return int(failed > 0 or not chapters)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
