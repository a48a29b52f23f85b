"""`make execute` stores the outputs of a chapter that ran, and touches no other."""

import nbformat
import pytest
from execute import ChapterError, choose, execute, main, record
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

LOUD = "import os\n_ = os.write(2, b'native log line')\nprint('one')\nprint('two', flush=True)"
FIGURE = "import matplotlib.pyplot as plt\n_ = plt.plot([1, 2])"
FAILING = "import json\njson.loads('{')"


def write(path, *sources, **metadata):
    """A chapter that was run before, long ago and elsewhere."""
    cells = [new_markdown_cell("# Title"), *map(new_code_cell, sources)]
    for cell in cells[1:]:
        cell.execution_count = 99
        cell.metadata = nbformat.from_dict({"execution": {"started": "then"}, **metadata})
    nbformat.write(new_notebook(cells=cells, metadata={"widgets": {}}), path)
    return path


@pytest.fixture
def path(tmp_path, monkeypatch):
    monkeypatch.setenv("MPLBACKEND", "")
    (tmp_path / "chapters").mkdir()
    return tmp_path / "chapters" / "01_x.ipynb"


def test_outputs_are_stored_and_stable(path):
    ids = [cell.id for cell in nbformat.read(write(path, LOUD, FIGURE, "1 + 1"), 4).cells]
    row = execute(path)
    first = path.read_bytes()
    assert (row["code cells"], row["cells that print"], row["cells compared"]) == (3, 3, 3)

    notebook = nbformat.read(path, 4)
    assert [cell.id for cell in notebook.cells] == ids
    assert [cell.execution_count for cell in notebook.cells[1:]] == [1, 2, 3]
    (stream,) = notebook.cells[1].outputs  # one stream, and no native log line
    assert (stream.name, stream.text) == ("stdout", "one\ntwo\n")
    assert "image/png" in notebook.cells[2].outputs[0].data
    assert all(cell.metadata == {} for cell in notebook.cells)
    assert set(notebook.metadata) == {"kernelspec", "language_info"}

    execute(path)
    assert path.read_bytes() == first
    assert [file.name for file in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (FAILING, r"(?s)^cell 2:.*JSONDecodeError: Expecting"),
        ("import warnings\nwarnings.warn('beware')", r"(?s)^cell 2: .*stderr.*beware"),
        ("", "^cell 2: did not run"),
        ("import os\nos.write(2, b'last words')\nos._exit(1)", "(?s)^cell 2:.*last words"),
    ],
)
def test_chapter_that_fails_stays_as_it_was(source, message, path):
    before = write(path, "print(1)", source, "print(2)").read_bytes()
    with pytest.raises(ChapterError, match=message):
        execute(path)
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_expected_error_is_stored_without_the_frames_of_libraries(path):
    execute(write(path, FAILING, tags=["raises-exception"]))
    (error,) = nbformat.read(path, 4).cells[1].outputs
    assert error.ename == "JSONDecodeError"
    assert "json.loads" in "".join(error.traceback)
    assert "decoder.py" not in "".join(error.traceback)


def test_rows_are_sorted_and_kept(path):
    root = path.parent.parent
    for name in ("01_x", "02_y"):
        (path.parent / f"{name}.ipynb").touch()
    row = {"seconds": 5, "code cells": 4, "cells that print": 3, "cells compared": 2}
    for name in ("02_y", "03_gone", "01_x"):
        record({"chapter": name, **row}, root)
    record({"chapter": "02_y", **row, "seconds": 6}, root)
    assert (root / "results" / "chapters.csv").read_text() == (
        "chapter,seconds,code cells,cells that print,cells compared\n"
        "01_x,5,4,3,2\n"
        "02_y,6,4,3,2\n"
    )


def test_chapters_are_chosen_by_number(path):
    root = path.parent.parent
    other = path.parent / "02_y.ipynb"
    for chapter in (path, other):
        chapter.touch()
    assert choose([], root) == [path, other]
    assert choose(["02"], root) == [other]
    with pytest.raises(ChapterError, match="no chapter 03; there are: 01, 02"):
        choose(["02", "03"], root)


def test_status_and_results(path, monkeypatch, capsys):
    root = path.parent.parent
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert main([], root) == 1  # no chapter at all
    write(path, "1/0")
    assert main(["01"], root) == 1
    assert "01_x.ipynb, cell 1:" in capsys.readouterr().out
    assert not (root / "results").exists()
    write(path, "print(1)")
    assert main([], root) == 0
    assert (root / "results" / "chapters.csv").read_text().count("\n") == 2
    assert "\nnumpy," in (root / "results" / "environment.csv").read_text()
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert main([], root) == 1
    assert "make execute" in capsys.readouterr().out
