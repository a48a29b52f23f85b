"""The rules for a chapter as a file: each takes a Chapter and returns a list of problems.

Problems name the cell by its number, counted from 0 with the markdown cells.
test_chapters_as_files.py applies RULES to the chapters, and to bad chapters that each rule
must report.
"""

import ast
import functools
import io
import json
import re
import statistics
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path

import nbformat
import yaml
from execute import NOTEBOOK_METADATA, code_cells, is_compared, prints, tags
from markdown_it import MarkdownIt
from mdit_py_plugins.dollarmath import dollarmath_plugin
from nbformat.validator import iter_validate
from repository import colab_link, current

SET_UP = """\
# On Colab this installs the course's small package and changes nothing else.
import sys

if "google.colab" in sys.modules:
    %pip install -q --no-deps git+{address}"""
TAGS = {
    "hide-input",
    "hide-output",
    "nbval-ignore-output",
    "nbval-skip",
    "raises-exception",
    "mirrors-course_utils",
    "exercise",
}
SECTIONS = [
    "You will be able to",
    "Proof",
    "Break it",
    "Exercises",
    "Questions people ask",
    "What we saw",
    "Sources",
]
HTML = {"details", "summary", "br", "sub", "sup"}
IMAGES = {"image/png", "image/jpeg", "image/svg+xml"}
DEFINITION = ast.ClassDef | ast.FunctionDef
MACHINE_PATH = re.compile(
    r"(?:^|(?<=[\s'\"(\[=:,]))(?:/(?:home|root|work|tmp|Users|opt|usr|mnt|content)/|[A-Z]:\\)",
    re.MULTILINE,
)
TEACH_BY_MIRROR = {"02", "03"}  # their layers are used again by later chapters
EXERCISES = 3
LONGEST_CELL, MEDIAN_CELL = 30, 15  # lines
SHORTEST_ALT = 40  # characters
COMPARED_SHARE = 0.7
LARGEST_OUTPUTS = 1_000_000  # bytes


@dataclass(frozen=True)
class Chapter:
    """A notebook and where it stands: root/chapters/NN_name.ipynb."""

    path: Path

    @property
    def root(self) -> Path:
        return self.path.parent.parent

    @cached_property
    def notebook(self) -> nbformat.NotebookNode:
        return nbformat.read(self.path, as_version=4)

    @property
    def cells(self) -> list:
        return self.notebook.cells

    @property
    def code(self) -> list[tuple[int, nbformat.NotebookNode]]:
        return [(i, cell) for i, cell in enumerate(self.cells) if cell.cell_type == "code"]

    @property
    def markdown(self) -> list[tuple[int, nbformat.NotebookNode]]:
        return [(i, cell) for i, cell in enumerate(self.cells) if cell.cell_type == "markdown"]

    @cached_property
    def tokens(self) -> list[tuple[int, list]]:
        """The markdown cells as CommonMark, tables and mathematics see them."""
        parser = MarkdownIt("commonmark").enable("table").use(dollarmath_plugin)
        return [(i, list(flatten(parser.parse(cell.source)))) for i, cell in self.markdown]


Rule = Callable[[Chapter], list[str]]
RULES: dict[str, Rule] = {}


def rule(check: Callable[[Chapter], Iterator[str]]) -> Rule:
    """Register a rule; it yields its problems."""

    @functools.wraps(check)
    def listed(chapter: Chapter) -> list[str]:
        return list(check(chapter))

    RULES[check.__name__] = listed
    return listed


def flatten(tokens: list) -> Iterator:
    """All tokens, the inline ones after their parent."""
    for token in tokens:
        yield token
        yield from flatten(token.children or [])


def parse(source: str) -> ast.Module | None:
    """The syntax tree of a cell, None if it is not plain Python (a magic command)."""
    try:
        return ast.parse(source)
    except SyntaxError:
        return None


def texts(output) -> Iterator[str]:
    """What an output says in letters."""
    if output.output_type == "stream":
        yield output.text
    elif output.output_type == "error":
        yield "\n".join([output.ename, output.evalue, *output.traceback])
    else:
        for kind, data in output.data.items():
            if kind not in {"image/png", "image/jpeg"}:
                yield data if isinstance(data, str) else json.dumps(data)


def has_image(cell) -> bool:
    """Whether the cell shows a figure."""
    return any(IMAGES & set(output.get("data", {})) for output in cell.outputs)


# --- The file ---------------------------------------------------------------------------


@rule
def valid_notebook(chapter):
    """Format 4.5, one id for each cell, and metadata that do not vary by machine."""
    raw = json.loads(chapter.path.read_text("utf-8"))
    if (raw["nbformat"], raw["nbformat_minor"]) != (4, 5):
        yield f"format {raw['nbformat']}.{raw['nbformat_minor']}, expected 4.5"
    elif problem := next(iter_validate(nbformat.from_dict(raw)), None):
        yield f"not a valid notebook: {problem.message}"
    if len({cell.get("id") for cell in raw["cells"]}) < len(raw["cells"]):
        yield "not every cell has an id of its own"
    if chapter.notebook.metadata != NOTEBOOK_METADATA:
        yield "the notebook's metadata are not those of tools/execute.py"
    for i, cell in enumerate(chapter.cells):
        if extra := set(cell.metadata) - {"tags", "mystnb"}:
            yield f"cell {i}: metadata {sorted(extra)} beside tags and mystnb"


@rule
def in_the_book(chapter):
    """Listed once in _toc.yml."""
    toc = yaml.safe_load((chapter.root / "_toc.yml").read_text("utf-8"))
    files = [entry["file"] for part in toc["parts"] for entry in part["chapters"]]
    if files.count(f"chapters/{chapter.path.stem}") != 1:
        yield f"chapters/{chapter.path.stem} does not stand once in _toc.yml"


@rule
def known_tags(chapter):
    """Only tags that mean something here, and no NBVAL comments, which nbval may ignore."""
    for i, cell in enumerate(chapter.cells):
        if unknown := tags(cell) - TAGS:
            yield f"cell {i}: unknown tags {sorted(unknown)}"
        if cell.cell_type == "code" and re.search(r"#\s*NBVAL_", cell.source, re.IGNORECASE):
            yield f"cell {i}: an NBVAL comment; use a tag"


# --- Code and its stored outputs --------------------------------------------------------


@rule
def run_in_order(chapter):
    """Every code cell was run once, from the first to the last."""
    for expected, (i, cell) in enumerate(chapter.code, start=1):
        found = {cell.execution_count}
        found |= {out.execution_count for out in cell.outputs if "execution_count" in out}
        if found != {expected}:
            yield f"cell {i}: execution count {found}, expected {expected}"


@rule
def no_stderr(chapter):
    """No warning and no log line is stored."""
    for i, cell in chapter.code:
        if any(output.get("name") == "stderr" for output in cell.outputs):
            yield f"cell {i}: stored stderr"


@rule
def no_error(chapter):
    """No stored error, except where the tag says so; and there, one."""
    for i, cell in chapter.code:
        failed = any(output.output_type == "error" for output in cell.outputs)
        if failed != ("raises-exception" in tags(cell)):
            yield f"cell {i}: an error without the tag raises-exception, or the other way round"


@rule
def no_machine_path(chapter):
    """No output says where somebody's files are."""
    for i, cell in chapter.code:
        for text in (text for output in cell.outputs for text in texts(output)):
            if found := MACHINE_PATH.search(text):
                yield f"cell {i}: a machine's path, {text[found.start() :][:40]!r}"


@rule
def no_widget(chapter):
    """No output that needs a live kernel or a script from elsewhere."""
    for i, cell in chapter.code:
        for kind in (kind for output in cell.outputs for kind in output.get("data", {})):
            live = kind == "text/html" and "<script" in str(cell.outputs)
            if live or kind.startswith("application/"):
                yield f"cell {i}: an output of the kind {kind}"


@rule
def no_trailing_semicolon(chapter):
    """nbval shows a value that a semicolon hides elsewhere; `_ = ...` works in both."""
    for i, cell in chapter.code:
        if re.search(r";\s*(#.*)?\Z", cell.source):
            yield f"cell {i}: ends with a semicolon; write _ = ..."


@rule
def mostly_compared(chapter):
    """At least 70 % of the cells that print are compared by nbval."""
    printing = [cell for cell in code_cells(chapter.notebook) if prints(cell)]
    compared = sum(map(is_compared, printing))
    if compared < COMPARED_SHARE * len(printing) or not printing:
        yield f"{compared} of {len(printing)} printing cells are compared"


@rule
def ignored_then_asserted(chapter):
    """Numbers that vary are bounded by an assertion in one of the next three cells."""
    for i, cell in chapter.code:
        only_figures = prints(cell) and all(
            IMAGES & set(output.get("data", {})) for output in cell.outputs
        )
        if is_compared(cell) or only_figures:
            continue
        followers = [c for c in chapter.cells[i + 1 : i + 4] if c.cell_type == "code"]
        if not any(asserts(follower) and is_compared(follower) for follower in followers):
            yield f"cell {i}: its output is not compared, and no assert follows"


def asserts(cell) -> bool:
    """Whether a cell holds an assert statement or calls an assert_... function."""
    for node in ast.walk(parse(cell.source) or ast.Module([], [])):
        if isinstance(node, ast.Assert):
            return True
        name = getattr(node, "attr", getattr(node, "id", ""))
        if isinstance(node, ast.Attribute | ast.Name) and name.startswith("assert_"):
            return True
    return False


@rule
def small_outputs(chapter):
    """All outputs together stay under 1 MB."""
    size = sum(len(json.dumps(cell.outputs)) for cell in code_cells(chapter.notebook))
    if size >= LARGEST_OUTPUTS:
        yield f"outputs of {size / 1e6:.1f} MB"


@rule
def short_cells(chapter):
    """At most 30 lines, typically 15."""
    lengths = {i: len(cell.source.splitlines()) for i, cell in chapter.code}
    for i, length in lengths.items():
        if length > LONGEST_CELL:
            yield f"cell {i}: {length} lines"
    if lengths and statistics.median(lengths.values()) > MEDIAN_CELL:
        yield f"the median cell has {statistics.median(lengths.values())} lines"


@rule
def figures_described(chapter):
    """Each figure has an alt text that says what is seen, a caption and a name of its own."""
    names = []
    for i, cell in chapter.code:
        if not has_image(cell):
            continue
        mystnb = cell.metadata.get("mystnb", {})
        alt, figure = mystnb.get("image", {}).get("alt", ""), mystnb.get("figure", {})
        if len(alt) < SHORTEST_ALT or re.search(r"\.(png|jpe?g|svg)\b", alt):
            yield f"cell {i}: alt text {alt!r} does not say what is seen"
        if not figure.get("caption"):
            yield f"cell {i}: no caption"
        if not figure.get("name") or figure["name"] in names:
            yield f"cell {i}: no name of its own, {figure.get('name')!r}"
        names.append(figure.get("name"))


# --- Text -------------------------------------------------------------------------------


@rule
def plain_markdown(chapter):
    """Only what Colab, JupyterLab and the book all render."""
    myst = {
        r"^:{3,}": "a ::: fence",
        r"^\([\w-]+\)=": "a MyST target",
        r"^%": "a MyST comment",
        r"^\+\+\+": "a MyST block break",
    }
    for i, tokens in chapter.tokens:
        for token in tokens:
            if token.type == "fence" and token.info.startswith("{"):
                yield f"cell {i}: a MyST directive, {token.info!r}"
            if token.type == "inline":
                for pattern, what in myst.items():
                    if re.search(pattern, token.content, re.MULTILINE):
                        yield f"cell {i}: {what}"
        for token, following in pairwise(tokens):
            name = re.search(r"\{[\w:+-]+\}$", token.content)
            if name and token.type == "text" and following.type == "code_inline":
                yield f"cell {i}: a MyST role, {name.group()}"


@rule
def allowed_html(chapter):
    """Folded parts, line breaks, sub- and superscripts; the folded text needs a blank line."""
    for i, tokens in chapter.tokens:
        for token in tokens:
            if token.type not in {"html_block", "html_inline"}:
                continue
            names = set(re.findall(r"</?\s*([a-z!?][\w-]*)", token.content.lower()))
            if names - HTML:
                yield f"cell {i}: HTML {sorted(names - HTML)}"
            _, summary, rest = token.content.rpartition("</summary>")
            if summary and rest.replace("</details>", "").strip():
                yield f"cell {i}: no blank line after </summary>"


@rule
def images_described(chapter):
    """A markdown image has an alt text and comes with the book, not from another host."""
    for i, tokens in chapter.tokens:
        for token in tokens:
            if token.type == "image":
                if len(token.content) < SHORTEST_ALT:
                    yield f"cell {i}: alt text {token.content!r} does not say what is seen"
                if "//" in token.attrs["src"]:
                    yield f"cell {i}: an image from elsewhere, {token.attrs['src']}"


@rule
def links_exist(chapter):
    """A relative link leads to a file of the repository."""
    for i, tokens in chapter.tokens:
        for token in tokens:
            target = str(token.attrs.get("href") or token.attrs.get("src") or "")
            file = target.partition("#")[0]
            if not file or re.match(r"[a-z][a-z0-9+.-]*:", file):
                continue
            path = (chapter.path.parent / file).resolve()
            if not path.is_file() or not path.is_relative_to(chapter.root.resolve()):
                yield f"cell {i}: no file at {target}"


@rule
def heading_order(chapter):
    """One title, first of all, and no level left out below it."""
    levels = [
        (i, int(token.tag[1]))
        for i, tokens in chapter.tokens
        for token in tokens
        if token.type == "heading_open"
    ]
    if [level for _, level in levels].count(1) != 1 or levels[0] != (0, 1):
        yield "not exactly one title, at the top of the first cell"
    for (_, level), (i, following) in pairwise(levels):
        if following > level + 1:
            yield f"cell {i}: a heading of level {following} below one of level {level}"


@rule
def all_sections(chapter):
    """The sections that every chapter has, in their order."""
    headings = [
        following.content
        for _, tokens in chapter.tokens
        for token, following in pairwise(tokens)
        if token.type == "heading_open"
    ]
    found = [next((s for s in SECTIONS if h.startswith(s)), None) for h in headings]
    found = [section for section in found if section]
    if found != SECTIONS:
        yield f"sections {found}, expected {SECTIONS}"


# --- The head ---------------------------------------------------------------------------


@rule
def same_set_up(chapter):
    """The first code cell is the set-up cell with the address of pyproject.toml."""
    if not chapter.code or chapter.code[0][1].source != SET_UP.format(
        address=current(chapter.root)
    ):
        yield "the first code cell is not the set-up cell"


@rule
def opens_in_colab(chapter):
    """The head links to this chapter in Colab, and no other cell to anything there."""
    expected = colab_link(current(chapter.root), chapter.path.name)
    links = [
        (i, token.attrs["href"])
        for i, tokens in chapter.tokens
        for token in tokens
        if token.type == "link_open" and "colab.research" in token.attrs["href"]
    ]
    if links != [(0, expected)]:
        yield f"links to Colab {links}, expected one in the first cell: {expected}"


# --- Exercises --------------------------------------------------------------------------


@dataclass(frozen=True)
class Exercise:
    """A stub cell: the checker's name, the function's name and the folded solution."""

    cell: int
    checker: str
    function: str
    solution: str


def exercises(chapter: Chapter) -> tuple[list[Exercise], list[str]]:
    """The exercises of a chapter, and the problems of those that are not written as agreed."""
    found, problems = [], []
    for i, cell in chapter.code:
        if "exercise" not in tags(cell):
            continue
        names = checked_function(cell.source)
        solution = folded_solution(chapter, i + 1)
        if not names:
            problems.append(f"cell {i}: the last line of an exercise is check.NAME(FUNCTION)")
        elif not solution:
            problems.append(f"cell {i}: no folded solution in the cell below")
        else:
            found.append(Exercise(i, *names, solution))
    return found, problems


def checked_function(source: str) -> tuple[str, str] | None:
    """NAME and FUNCTION of a cell that ends with `check.NAME(FUNCTION)` and defines it."""
    match getattr(parse(source), "body", []):
        case [
            *before,
            ast.Expr(
                ast.Call(ast.Attribute(ast.Name("check"), name), [ast.Name(function)], [])
            ),
        ] if function in {getattr(node, "name", None) for node in before}:
            return name, function
    return None


def folded_solution(chapter: Chapter, number: int) -> str | None:
    """The Python of the first <details> part of a markdown cell, if there is one."""
    for i, tokens in chapter.tokens:
        if i == number:
            blocks = "".join(t.content for t in tokens if t.type == "html_block")
            code = [t.content for t in tokens if t.type == "fence" and t.info == "python"]
            if re.search(r"<details>\s*<summary>Solution.*</summary>", blocks) and code:
                return code[0]
    return None


@rule
def enough_exercises(chapter):
    """At least three, each with a stub, its checker and a folded solution."""
    found, problems = exercises(chapter)
    yield from problems
    if len(found) + len(problems) < EXERCISES:
        yield f"{len(found)} exercises, expected at least {EXERCISES}"


@rule
def stubs_untouched(chapter):
    """A stub runs and says that it is not written yet."""
    for exercise in exercises(chapter)[0]:
        said = [text for out in chapter.cells[exercise.cell].outputs for text in texts(out)]
        # The last line's value, False, is shown below the verdict.
        if not said or said[0].strip() != f"{exercise.checker}: not written yet":
            yield f"cell {exercise.cell}: the stub said {said}"


@rule
def solutions_pass(chapter):
    """Each folded solution, run after the chapter's imports, passes its checker."""
    found, _ = exercises(chapter)
    if not found:
        return
    imports = chapter.code[1][1].source
    for exercise in found:
        namespace: dict = {"__name__": "solution"}
        said = io.StringIO()
        try:
            with redirect_stdout(said):
                exec(imports, namespace)
                exec(exercise.solution, namespace)
                checker = getattr(namespace["check"], exercise.checker)
                passed = checker(namespace[exercise.function])
        except Exception as error:
            yield f"cell {exercise.cell}: the solution raised {type(error).__name__}: {error}"
        else:
            if passed is not True:
                yield f"cell {exercise.cell}: the solution fails, {said.getvalue().strip()}"


# --- Code taught and code shared --------------------------------------------------------


@rule
def mirrors_agree(chapter):
    """What a cell tagged mirrors-course_utils defines stands so in course_utils too."""
    shared = definitions_of_package(chapter.root / "src" / "course_utils")
    mirrors = [(i, cell) for i, cell in chapter.code if "mirrors-course_utils" in tags(cell)]
    if chapter.path.name[:2] in TEACH_BY_MIRROR and not mirrors:
        yield "no cell is tagged mirrors-course_utils"
    for i, cell in mirrors:
        taught = list(definitions(parse(cell.source)))
        if not taught:
            yield f"cell {i}: tagged mirrors-course_utils, but defines nothing"
        for name, tree in taught:
            if (name, tree) not in shared:
                names = {shared_name for shared_name, _ in shared}
                why = "differs from" if name in names else "does not stand in"
                yield f"cell {i}: {name} {why} course_utils"


def definitions_of_package(folder: Path) -> set[tuple[str, str]]:
    """All top-level definitions of a package, read, not imported."""
    sources = [path.read_text("utf-8") for path in sorted(folder.rglob("*.py"))]
    return {pair for source in sources for pair in definitions(parse(source))}


def definitions(module: ast.Module | None) -> Iterator[tuple[str, str]]:
    """Name and syntax tree, docstrings left out, of each top-level class and function."""
    for node in module.body if module else []:
        if isinstance(node, DEFINITION):
            for inner in ast.walk(node):
                if isinstance(inner, DEFINITION) and ast.get_docstring(inner) is not None:
                    inner.body = inner.body[1:]
            yield node.name, ast.dump(node)
