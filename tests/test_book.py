"""tools/check_book.py sees each fault in a miniature book; the book's sources fit together."""

import importlib.util
import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent


def load_check_book():
    """The script as a module."""
    spec = importlib.util.spec_from_file_location(
        "check_book", ROOT / "tools" / "check_book.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


check_book = load_check_book()

TOC = """\
root: intro
parts:
  - caption: Part
    chapters:
      - file: chapters/one
        sections:
          - file: chapters/two
"""
PAGE = """\
<html lang="en"><head><title>T</title><meta name="description" content="what it is">
<link rel="stylesheet" href="{up}_static/a.css"><link rel="next" href="#">
<script src="{up}_static/mathjax/tex-chtml.js"></script><script>let a = 1;</script></head>
<body><img src="{up}_static/logo.svg" alt="Two layers"><article><h1>Title</h1>
<p>Words, <span class="math">\\(x^2\\)</span>, <code>$$ {{ref}}`a`</code>.</p>
<a href="https://example.org/">elsewhere</a> <a href="#here">here</a></article></body></html>
"""
FAULTS = {
    "script": ('<script src="https://cdn.example/x.js"></script>', "loads https://cdn"),
    "script without scheme": ('<script src="//cdn.example/x.js"></script>', "loads //cdn"),
    "style sheet": ('<link rel="stylesheet" href="https://cdn.example/x.css">', "loads https"),
    "preload": ('<link rel="preload" href="https://cdn.example/f.woff2">', "loads https"),
    "picture": ('<img src="https://cdn.example/p.png" alt="A curve">', "loads https"),
    "picture set": (
        '<source srcset="{up}_static/logo.svg 1x, https://cdn.example/p.png 2x">',
        "loads https",
    ),
    "frame": ('<iframe src="https://cdn.example/"></iframe>', "loads https"),
    "inline script": (
        '<script>const u = "https://cdn.example/t.js"</script>',
        "script that names",
    ),
    "inline style": ('<p style="background: url(https://cdn.example/b.png)">', "style that"),
    "style element": ("<style>@import 'https://cdn.example/b.css';</style>", "style that"),
    "lost file": ('<script src="{up}_static/gone.js"></script>', "which is not there"),
    "lost page": ('<a href="{up}gone.html">x</a>', "links to"),
    "no alt text": ('<img src="{up}_static/logo.svg">', "without alt text"),
    "blank alt text": ('<img src="{up}_static/logo.svg" alt=" ">', "without alt text"),
    "file name": ('<img src="{up}_static/logo.svg" alt="_images/3f.png">', "file name"),
    "role": ("<p>see {{doc}}`x`</p>", "raw markup"),
    "fence": ("<p>\n:::{{note}}\n</p>", "raw markup"),
    "dollars": ("<p>$$x</p>", "raw markup"),
    "formula outside mathematics": ("<p>\\(x\\)</p>", "raw markup"),
    "error box": ('<span class="problematic">*</span>', "error of the build"),
}


def write_page(html: Path, name: str, *, extra: str = "", page: str = PAGE) -> None:
    """Write one page of the miniature book, with something extra in its article."""
    up = "../" * name.count("/")
    path = html / f"{name}.html"
    path.parent.mkdir(parents=True, exist_ok=True)
    text = page.replace("</article>", extra + "</article>").format(up=up)
    path.write_text(text, encoding="utf-8")


@pytest.fixture
def book(tmp_path: Path) -> Path:
    """A miniature book without a fault."""
    (tmp_path / "_toc.yml").write_text(TOC, encoding="utf-8")
    html = tmp_path / "_build" / "html"
    for name in ("intro", "chapters/one", "chapters/two", "index"):
        write_page(html, name)
    static = html / "_static"
    (static / "mathjax").mkdir(parents=True)
    (static / "mathjax" / "tex-chtml.js").write_text("//")
    (static / "logo.svg").write_text("<svg/>")
    (static / "a.css").write_text(
        "/* url(https://cdn.example/c) */ @namespace s url(http://www.w3.org/2000/svg);\n"
        "p {background: url(data:image/svg+xml,http://www.w3.org)} a {src: url('f.woff')}"
    )
    return tmp_path


def test_a_good_book_passes(book, capsys):
    assert check_book.problems(book, verbose=True) == []
    assert re.search(r"chapters/two +0 +0", capsys.readouterr().out)


def test_main_names_the_file_to_open(book, capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["check_book", "--root", str(book)])
    assert check_book.main() == 0
    assert str(book / "_build" / "html" / "index.html") in capsys.readouterr().out


def test_main_fails_with_a_line_for_each_problem(book, capsys, monkeypatch):
    write_page(book / "_build" / "html", "intro", extra='<img src="_static/logo.svg">')
    monkeypatch.setattr("sys.argv", ["check_book", "--root", str(book)])
    assert check_book.main() == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.splitlines() == [
        "check_book: intro.html: shows _static/logo.svg without alt text"
    ]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_on_a_page_is_seen_and_named(book, fault):
    extra, said = FAULTS[fault]
    write_page(book / "_build" / "html", "chapters/two", extra=extra)
    found = check_book.problems(book)
    assert len(found) == 1
    assert found[0].startswith("chapters/two")
    assert said in found[0]


def test_a_page_outside_the_table_of_contents_is_looked_at(book):
    extra = '<script src="https://cdn.example/x.js"></script>'
    write_page(book / "_build" / "html", "search", extra=extra)
    assert check_book.problems(book) == ["search.html: loads https://cdn.example/x.js"]


def test_a_style_sheet_that_loads_from_elsewhere_is_seen(book):
    for rule in ("@import url('https://cdn.example/f.css');", "p {src: url(//cdn.example/f)}"):
        (book / "_build" / "html" / "_static" / "b.css").write_text(rule)
        assert [line[:20] for line in check_book.problems(book)] == ["_static/b.css: loads"]


def test_a_missing_page_is_seen(book):
    (book / "_build" / "html" / "chapters" / "one.html").unlink()
    assert check_book.problems(book) == ["chapters/one: is in _toc.yml but was not built"]


def test_a_book_that_was_not_built_is_seen(book):
    (book / "_build").rename(book / "elsewhere")
    assert len(check_book.problems(book)) == 4  # three pages and index.html


def test_an_empty_page_is_seen(book):
    write_page(book / "_build" / "html", "intro", page=PAGE.replace("<h1>Title</h1>", ""))
    assert check_book.problems(book) == ["intro: is empty"]


def test_a_page_without_language_or_description_is_seen(book):
    bare = PAGE.replace(' lang="en"', "").replace('name="description"', 'name="x"')
    write_page(book / "_build" / "html", "intro", page=bare)
    assert check_book.problems(book) == [
        "intro: does not say its language",
        "intro: has no description",
    ]


def test_formulas_without_mathjax_are_seen(book):
    bare = re.sub(r'<script src="\{up\}_static/mathjax.*?</script>', "", PAGE)
    write_page(book / "_build" / "html", "intro", page=bare)
    assert check_book.problems(book) == ["intro.html: has formulas but does not load MathJax"]


def test_a_heavy_page_is_seen(book):
    figure = book / "_build" / "html" / "_images" / "f.png"
    figure.parent.mkdir()
    figure.write_bytes(bytes(check_book.PAGE_LIMIT))
    write_page(book / "_build" / "html", "intro", extra='<img src="_images/f.png" alt="Big">')
    assert check_book.problems(book) == ["intro: 1001 kB with figures, over 1000 kB"]


def source_pages() -> list[str]:
    """The pages that the real _toc.yml names."""
    return check_book.pages(yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8")))


def test_the_table_of_contents_names_every_chapter_and_page_once():
    names = source_pages()
    assert len(names) == len(set(names))
    sources = [*ROOT.glob("chapters/*.ipynb"), *ROOT.glob("pages/*.md")]
    there = {str(path.relative_to(ROOT).with_suffix("").as_posix()) for path in sources}
    assert there == set(names) - {"intro"}


def test_the_first_page_lists_every_chapter():
    text = (ROOT / "intro.md").read_text(encoding="utf-8")
    linked = re.findall(r"^\| \[.*?\]\((chapters/.*?)\.ipynb\)", text, re.MULTILINE)
    assert linked == [name for name in source_pages() if name.startswith("chapters/")]


def test_the_glossary_is_sorted_and_complete():
    text = (ROOT / "pages" / "glossary.md").read_text(encoding="utf-8")
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line[:1] == "|"][2:]
    assert all(len(row) == 4 and all(row) for row in rows)
    terms = [row[0] for row in rows]
    assert terms == sorted(terms, key=str.casefold)


def test_the_settings_keep_the_book_offline():
    settings = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    sphinx = settings["sphinx"]["config"]
    assert settings["execute"]["execute_notebooks"] == "off"
    assert "sphinx_thebe" not in sphinx["extensions"]
    assert "sphinx-mathjax-offline" in sphinx["extensions"]
    assert sphinx["nb_ipywidgets_js"] == {}


def test_the_book_leaves_out_what_the_commands_make():
    """pytest's cache holds a README.md, which would stop the build after `make test`."""
    excluded = yaml.safe_load((ROOT / "_config.yml").read_text("utf-8"))["exclude_patterns"]
    ignored = (ROOT / ".gitignore").read_text("utf-8").split()
    made = {line.strip("/") for line in ignored if line.endswith("/") and "*" not in line}
    assert made - {"_build", "__pycache__", ".ipynb_checkpoints"} <= set(excluded)
