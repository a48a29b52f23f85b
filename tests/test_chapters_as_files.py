"""The chapters as files: what nbval does not see. The rules are in chapter_rules.py.

Each rule is first seen to fail: a chapter that keeps all rules is spoilt in one way, and
exactly the rule meant for it must report.
"""

import json
import re
from pathlib import Path

import nbformat
import pytest
from chapter_rules import RULES, SET_UP, Chapter
from execute import NOTEBOOK_METADATA, counts
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from nbval.plugin import get_sanitize_patterns
from repository import colab_link

ROOT = Path(__file__).resolve().parent.parent
CHAPTERS = sorted((ROOT / "chapters").glob("*.ipynb"))
SANITIZE = ROOT / "tests" / "nbval_sanitize.cfg"
ADDRESS = "https://github.com/someone/something"


# --- The chapters themselves ------------------------------------------------------------


def test_there_are_chapters():
    assert CHAPTERS


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
@pytest.mark.parametrize("name", RULES)
def test_chapter_keeps_rule(name, path):
    problems = RULES[name](Chapter(path))
    assert not problems, "\n".join([RULES[name].__doc__, *problems])


# --- A chapter that keeps all rules, and ways to spoil it -------------------------------

PACKAGE = '''
class Layer:
    """The layer as the package has it."""

    def call(self, x):
        return 2 * x
'''
LINK = f"[Open in Colab]({colab_link(ADDRESS, '02_small.ipynb')})"
HEAD = f"""\
# A small chapter

At its end you have $y = 2x$ and $a <b>c$. {LINK}

## You will be able to

- double, see [this chapter](02_small.ipynb)
"""
SOLUTION = """\
<details>
<summary>Solution</summary>

```python
def double(x):
    return 2 * x
```

</details>
"""
STUB = '''\
def double(x):
    """Return two times x."""
    ...


check.double(double)'''
IMPORTS = """\
import types

check = types.SimpleNamespace(double=lambda candidate: candidate(2) == 4)"""
ALT = "A straight line through the origin that rises by two for each step"
FIGURE = {"image": {"alt": ALT}, "figure": {"caption": "A line.", "name": "line"}}


def printed(text):
    return new_output("stream", name="stdout", text=text)


def code(source, *outputs, tags=(), **metadata):
    metadata |= {"tags": list(tags)} if tags else {}
    return new_code_cell(source, outputs=list(outputs), metadata=metadata)


def picture():
    return new_output("display_data", {"image/png": "iVBORw0KGgo=", "text/plain": "<Figure>"})


def good_cells():
    mirror = "class Layer:\n    # a comment\n    def call(self, x):\n        return 2 * x"
    exercises = [
        cell
        for _ in range(3)
        for cell in (
            code(STUB, printed("double: not written yet\n"), tags=["exercise"]),
            new_markdown_cell(SOLUTION),
        )
    ]
    return [
        new_markdown_cell(HEAD),
        code(SET_UP.format(address=ADDRESS)),
        code(IMPORTS),
        code(mirror, tags=["mirrors-course_utils"]),
        code("draw()", picture(), mystnb=FIGURE),
        code("accuracy = train()", printed("0.91\n"), tags=["nbval-ignore-output"]),
        code("assert accuracy > 0.8\nprint('above 0.8')", printed("above 0.8\n")),
        new_markdown_cell("## Proof: it is equal"),
        new_markdown_cell("## Break it\n\n### In detail"),
        new_markdown_cell("## Exercises"),
        *exercises,
        new_markdown_cell("## Questions people ask\n\n## What we saw\n\n## Sources"),
    ]


def chapter_of(cells, root):
    """Write the cells, run in order, as a chapter of a small repository under root."""
    ran = [cell for cell in cells if cell.cell_type == "code"]
    for count, cell in enumerate(ran, start=1):
        cell.execution_count = count if cell.execution_count is None else cell.execution_count
    path = root / SMALL
    for folder in (path.parent, root / "src" / "course_utils"):
        folder.mkdir(parents=True)
    nbformat.write(new_notebook(cells=cells, metadata=NOTEBOOK_METADATA), path)
    (root / "src/course_utils/layers.py").write_text(PACKAGE)
    (root / "pyproject.toml").write_text(f'[project.urls]\nRepository = "{ADDRESS}"\n')
    (root / "_toc.yml").write_text("parts:\n- chapters:\n  - file: chapters/02_small\n")
    return Chapter(path)


def reporting(chapter):
    """The names of the rules that report something."""
    return {name for name, rule in RULES.items() if rule(chapter)}


def test_good_chapter_keeps_all_rules(tmp_path):
    chapter = chapter_of(good_cells(), tmp_path)
    problems = [problem for rule in RULES.values() for problem in rule(chapter)]
    assert problems == []


# The parts of the good chapter that are spoilt.
SMALL = "chapters/02_small.ipynb"
TITLE, SET_UP_CELL, IMPORT_CELL, MIRROR, DRAW, IGNORED, ASSERTED, PROOF, BREAK = range(9)
FIRST_STUB, FIRST_SOLUTION, LAST = 10, 11, -1
LONG = "\n".join(["x = 1"] * 31)


def put(number, **fields):
    """Set fields of one cell."""
    return lambda cells: cells[number].update(fields)


def add_text(source):
    """Add a markdown cell below the proof's heading."""
    return lambda cells: cells.insert(PROOF + 1, new_markdown_cell(source))


def add_code(source, *outputs, **metadata):
    """Add a code cell below the proof's heading."""
    return lambda cells: cells.insert(PROOF + 1, code(source, *outputs, **metadata))


def change(number, old, new):
    """Replace a part of one cell's source."""

    def spoil(cells):
        assert old in cells[number].source
        cells[number].source = cells[number].source.replace(old, new)

    return spoil


def change_figure(part, key, value):
    def spoil(cells):
        cells[DRAW].metadata = json.loads(json.dumps(cells[DRAW].metadata))
        cells[DRAW].metadata["mystnb"][part][key] = value

    return spoil


def remove(first, last):
    """Remove the cells first to last - 1."""
    return lambda cells: cells.__delitem__(slice(first, last))


def value(data, **fields):
    return new_output("execute_result", data, **fields)


def failure(name="ValueError"):
    return new_output("error", ename=name, evalue="no", traceback=[f"{name}: no"])


BAD = [
    ("valid_notebook", "time", put(DRAW, metadata={"mystnb": FIGURE, "execution": {}})),
    ("known_tags", "misspelt", put(IMPORT_CELL, metadata={"tags": ["nbval-ignore-outputs"]})),
    ("known_tags", "comment", add_code("# NBVAL_SKIP: long\nx = 1")),
    ("run_in_order", "twice", put(IMPORT_CELL, execution_count=7)),
    ("run_in_order", "result", add_code("1", value({"text/plain": "1"}, execution_count=99))),
    ("no_stderr", "warning", add_code("f()", new_output("stream", name="stderr", text="W"))),
    ("no_error", "untagged", add_code("f()", failure())),
    ("no_error", "tag without error", add_code("f()", tags=["raises-exception"])),
    ("no_machine_path", "home", add_code("f()", printed("at /home/ann/x.py\n"))),
    ("no_machine_path", "start", add_code("f()", printed("ok\n/tmp/x\n"))),
    ("no_machine_path", "windows", add_code("f()", printed("'C:\\Users\\ann'\n"))),
    ("no_widget", "widget", add_code("f()", new_output(
        "display_data", {"application/vnd.jupyter.widget-view+json": {"model_id": "1"}}))),
    ("no_widget", "script", add_code("f()", new_output(
        "display_data", {"text/html": "<script src='x.js'></script>"}))),
    ("no_trailing_semicolon", "value", add_code("x = 1\nx;")),
    ("no_trailing_semicolon", "comment", add_code("x = 1\nx;  # hidden")),
    ("mostly_compared", "ignored", lambda cells: add_code("assert t")(cells) or [
        add_code("print(t)", printed("1\n"), tags=["nbval-skip"])(cells) for _ in range(3)]),
    ("ignored_then_asserted", "no assert", put(ASSERTED, source="print('above 0.8')")),
    ("ignored_then_asserted", "too late", lambda cells: [
        cells.insert(ASSERTED, new_markdown_cell("Words.")) for _ in range(3)]),
    ("ignored_then_asserted", "in a comment", put(ASSERTED, source="# assert accuracy")),
    ("small_outputs", "large", add_code("f()", printed("x" * 1_000_000))),
    ("short_cells", "31 lines", add_code(LONG)),
    ("short_cells", "median", lambda cells: [
        add_code("\n".join(["x = 1"] * 16))(cells) for _ in range(12)]),
    ("figures_described", "no alt", change_figure("image", "alt", "")),
    ("figures_described", "short alt", change_figure("image", "alt", "A line")),
    ("figures_described", "file", change_figure("image", "alt", "x" * 50 + ".png")),
    ("figures_described", "caption", change_figure("figure", "caption", "")),
    ("figures_described", "name", change_figure("figure", "name", "")),
    ("figures_described", "same name", add_code("draw()", picture(), mystnb=FIGURE)),
    ("plain_markdown", "fence", add_text(":::{note}\nWords.\n:::")),
    ("plain_markdown", "directive", add_text("```{note}\nWords.\n```")),
    ("plain_markdown", "role", add_text("See {ref}`there`.")),
    ("plain_markdown", "target", add_text("(here)=\nWords.")),
    ("plain_markdown", "comment", add_text("% Words.")),
    ("plain_markdown", "break", add_text("+++\nWords.")),
    ("allowed_html", "img", add_text('<img src="https://example.org/x.png">')),
    ("allowed_html", "inline", add_text("Words <b>loud</b>.")),
    ("allowed_html", "comment", add_text("<!-- hidden -->")),
    ("allowed_html", "no blank line", add_text(
        "<details>\n<summary>More</summary>\nWords.\n\n</details>")),
    ("images_described", "no alt", add_text("![](02_small.ipynb)")),
    ("images_described", "elsewhere", add_text(f"![{ALT}](https://example.org/x.png)")),
    ("links_exist", "no file", add_text("[next](03_next.ipynb)")),
    ("links_exist", "outside", add_text("[up](../../elsewhere.txt)")),
    ("heading_order", "two titles", add_text("# Another")),
    ("heading_order", "skipped", add_text("#### Deep")),
    ("heading_order", "late", change(TITLE, "# A small chapter", "Words.\n")),
    ("all_sections", "missing", change(LAST, "## What we saw\n", "")),
    ("all_sections", "order", lambda cells: cells.insert(PROOF, cells.pop(BREAK))),
    ("same_set_up", "other address", change(SET_UP_CELL, "someone", "else")),
    ("same_set_up", "other code", put(SET_UP_CELL, source="import sys")),
    ("opens_in_colab", "other chapter", change(TITLE, "chapters/02", "chapters/03")),
    ("opens_in_colab", "missing", change(TITLE, "[Open in Colab]", "Open in Colab ")),
    ("opens_in_colab", "another", add_text(LINK)),
    ("enough_exercises", "two", remove(FIRST_STUB, FIRST_STUB + 2)),
    ("enough_exercises", "no check", change(FIRST_STUB, "check.double(double)", "double(2)")),
    ("enough_exercises", "other name", change(FIRST_STUB, "(double)", "(triple)")),
    ("enough_exercises", "no solution", put(FIRST_SOLUTION, source="Words.")),
    ("enough_exercises", "not folded", change(FIRST_SOLUTION, "<details>", "")),
    ("stubs_untouched", "solved", put(FIRST_STUB, outputs=[printed("double: correct\n")])),
    ("stubs_untouched", "silent", put(FIRST_STUB, outputs=[])),
    ("solutions_pass", "wrong", change(FIRST_SOLUTION, "2 * x", "3 * x")),
    ("solutions_pass", "raises", change(FIRST_SOLUTION, "2 * x", "y")),
    ("solutions_pass", "not Python", change(FIRST_SOLUTION, "2 * x", "2 *")),
    ("mirrors_agree", "differs", change(MIRROR, "2 * x", "x * 2")),
    ("mirrors_agree", "unknown", change(MIRROR, "Layer", "Lair")),
    ("mirrors_agree", "nothing", put(MIRROR, source="x = 1")),
    ("mirrors_agree", "no tag", put(MIRROR, metadata={})),
]  # fmt: skip


@pytest.mark.parametrize(("name", "spoil"), [(b[0], b[2]) for b in BAD],
                         ids=[f"{b[0]}: {b[1]}" for b in BAD])  # fmt: skip
def test_exactly_this_rule_reports(name, spoil, tmp_path):
    cells = good_cells()
    spoil(cells)
    assert reporting(chapter_of(cells, tmp_path)) == {name}


@pytest.mark.parametrize(
    ("name", "file", "pattern", "new"),
    [
        ("valid_notebook", SMALL, '"nbformat_minor": 5', '"nbformat_minor": 4'),
        ("valid_notebook", SMALL, r'"id": "\w+"', '"id": "same"'),
        ("valid_notebook", SMALL, '"cell_type": "code"', '"cell_type": "code", "more": 1'),
        ("valid_notebook", SMALL, '"name": "python3"', '"name": "my-environment"'),
        ("in_the_book", "_toc.yml", "02_small", "03_other"),
        ("same_set_up", SMALL, r"git\+https://github", "git+https://gitlab"),
    ],
)
@pytest.mark.filterwarnings("ignore:Non-unique cell id")
def test_exactly_this_rule_reports_of_a_spoilt_file(name, file, pattern, new, tmp_path):
    path = chapter_of(good_cells(), tmp_path).path
    text, replaced = re.subn(pattern, new, (tmp_path / file).read_text())
    (tmp_path / file).write_text(text)
    assert replaced
    assert reporting(Chapter(path)) == {name}


def test_a_failure_says_what_the_rule_asks_for():
    assert all(rule.__doc__ for rule in RULES.values())


def test_every_rule_was_seen_to_report():
    assert {name for name, *_ in BAD} | {"in_the_book"} == set(RULES)


def test_counts_of_printing_and_compared_cells(tmp_path):
    notebook = chapter_of(good_cells(), tmp_path).notebook
    assert counts(notebook) == {"code cells": 9, "cells that print": 6, "cells compared": 5}


# --- What nbval leaves out of its comparison --------------------------------------------


def test_nbval_reads_every_sanitize_rule():
    text = SANITIZE.read_text()
    written = [line for line in text.splitlines() if line.startswith("regex:")]
    parsed = get_sanitize_patterns(text)
    assert len(parsed) == len(written) > 0
    assert all(re.fullmatch(r"[A-Z]+(-[A-Z]+)*", word) for _, word in parsed)


def test_a_rule_that_nbval_would_ignore_is_noticed():
    assert len(get_sanitize_patterns("regex: a\n\nreplace: B\nregex: c\nreplace: D\n")) == 1
