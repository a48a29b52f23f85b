"""Look at the built book and say what is wrong with it; `make book` runs this at its end.

Jupyter Book exits with 0 after some failures, so nothing is believed that is not there:
every page of _toc.yml, its pictures with their descriptions, its mathematics, its weight,
and that no page loads anything from another host (a link that the reader may follow is fine).
"""

import argparse
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

import yaml
from bs4 import BeautifulSoup

ROOT = Path(__file__).resolve().parent.parent
PAGE_LIMIT = 1_000_000  # bytes of a page and its own figures
# What the browser loads by itself, tag and attribute.
LOADED = {
    "script": "src",
    "link": "href",
    "img": "src",
    "source": "src",
    "iframe": "src",
    "embed": "src",
    "object": "data",
    "video": "src",
    "audio": "src",
}
# Kinds of <link> that only say where something is.
NAVIGATION = {"canonical", "alternate", "index", "search", "next", "prev"}
ELSEWHERE = re.compile(r"(?:[a-z][a-z0-9+.-]*:)?//", re.IGNORECASE)
ADDRESS = re.compile(r"(?:https?:|[\"'`(])//[^\s\"'`)]+", re.IGNORECASE)
CSS_LOADS = re.compile(r"(?:url\(\s*|@import\s+(?!url\())[\"']?([^\"')\s;]+)", re.IGNORECASE)
CSS_IGNORED = re.compile(r"/\*.*?\*/|@namespace[^;]*;", re.DOTALL)
FILE_NAME = re.compile(r"[^\s]+\.(?:png|jpe?g|gif|svg|webp)", re.IGNORECASE)
RAW_MYST = re.compile(r"\{[a-z][\w:+.-]*\}`|^:::|^```|\$\$|\\\(|\\\[", re.MULTILINE)


def pages(toc: dict) -> list[str]:
    """The pages of a table of contents in reading order, without suffix."""
    found = [toc[key] for key in ("root", "file") if key in toc]
    for key in ("parts", "chapters", "sections"):
        for entry in toc.get(key, []):
            found += pages(entry)
    return found


def loads(soup: BeautifulSoup) -> Iterator[str]:
    """The addresses that a page loads without being asked, data: addresses left out."""
    for tag, attribute in LOADED.items():
        for element in soup.find_all(tag):
            if tag == "link" and NAVIGATION.intersection(element.get("rel", [])):
                continue
            candidates = [element.get(attribute)]
            candidates += [
                part.split()[0] for part in element.get("srcset", "").split(",") if part
            ]
            yield from (c for c in candidates if c and not c.startswith("data:"))


def css_loads(css: str) -> Iterator[str]:
    """The addresses that a style sheet loads, data: addresses left out."""
    for match in CSS_LOADS.finditer(CSS_IGNORED.sub("", css)):
        if not match[1].startswith("data:"):
            yield match[1]


def local(address: str, page: Path) -> Path:
    """The file that an address on a page means."""
    return page.parent / unquote(urlsplit(address).path)


def hosts(page: Path, soup: BeautifulSoup) -> Iterator[str]:
    """Requests that would leave the site, and local ones that lead nowhere."""
    for address in loads(soup):
        if ELSEWHERE.match(address):
            yield f"loads {address}"
        elif not local(address, page).is_file():
            yield f"loads {address}, which is not there"
    for script in soup.find_all("script", src=False):
        for match in ADDRESS.finditer(script.get_text()):
            yield f"has a script that names {match[0].lstrip('(').strip(chr(34))}"
    styles = [style.get_text() for style in soup.find_all("style")]
    styles += [element["style"] for element in soup.find_all(style=True)]
    for address in css_loads("\n".join(styles)):
        if ELSEWHERE.match(address):
            yield f"has a style that loads {address}"


def links(page: Path, soup: BeautifulSoup) -> Iterator[str]:
    """Links inside the book to files that are not there."""
    for element in soup.find_all("a", href=True):
        parts = urlsplit(element["href"])
        if not parts.scheme and not parts.netloc and parts.path:
            target = local(element["href"], page)
            if not (target.is_file() or (target / "index.html").is_file()):
                yield f"links to {element['href']}, which is not there"


def images(soup: BeautifulSoup) -> Iterator[str]:
    """Pictures without a description, or with the file's name for one."""
    for image in soup.find_all("img"):
        alt = (image.get("alt") or "").strip()
        if not alt:
            yield f"shows {image.get('src')} without alt text"
        elif FILE_NAME.fullmatch(alt):
            yield f"shows {image.get('src')} with a file name as alt text"


def mathematics(page: Path, soup: BeautifulSoup) -> Iterator[str]:
    """Formulas on a page that does not load MathJax from the book."""
    scripts = [script["src"] for script in soup.find_all("script", src=True)]
    mathjax = [
        src for src in scripts if "mathjax" in src.lower() and local(src, page).is_file()
    ]
    if soup.select(".math") and not mathjax:
        yield "has formulas but does not load MathJax"


def markup(soup: BeautifulSoup) -> Iterator[str]:
    """Text that should have become something else: roles, fences, dollars, error boxes."""
    article = soup.find("article") or soup
    for box in article.select(".problematic, .system-message"):
        yield f"shows an error of the build: {box.get_text(' ', strip=True)[:80]}"
    text = BeautifulSoup(str(article), "html.parser")
    for element in text.select("pre, code, script, style, .math"):
        element.decompose()
    plain = text.get_text()
    for match in RAW_MYST.finditer(plain):
        around = plain[max(0, match.start() - 20) : match.end() + 30]
        yield f"shows raw markup: {' '.join(around.split())}"


def head(soup: BeautifulSoup) -> Iterator[str]:
    """What a search engine and a screen reader need first."""
    if not (soup.html and soup.html.get("lang")):
        yield "does not say its language"
    if not soup.find("meta", attrs={"name": "description"}):
        yield "has no description"


def weight(page: Path, soup: BeautifulSoup) -> tuple[int, int]:
    """Bytes of the page with the figures of its article, and how many figures that is."""
    article = soup.find("article") or soup
    sources = {image.get("src", "") for image in article.find_all("img")}
    files = {local(source, page) for source in sources if source and "//" not in source}
    figures = [file for file in files if file.is_file()]
    return sum(file.stat().st_size for file in [page, *figures]), len(figures)


def check_pages(html: Path, names: list[str], verbose: bool) -> Iterator[str]:
    """The problems of the pages in the table of contents."""
    if verbose:
        print(f"{'page':<40}{'kB':>6}{'figures':>9}")
    for name in names:
        page = html / f"{name}.html"
        if not page.is_file():
            yield f"{name}: is in _toc.yml but was not built"
            continue
        soup = BeautifulSoup(page.read_text(encoding="utf-8"), "html.parser")
        article = soup.find("article")
        if not (article and article.find("h1") and article.get_text(strip=True)):
            yield f"{name}: is empty"
        size, figures = weight(page, soup)
        if verbose:
            print(f"{name:<40}{size / 1000:>6.0f}{figures:>9}")
        if size > PAGE_LIMIT:
            yield f"{name}: {size / 1000:.0f} kB with figures, over {PAGE_LIMIT // 1000} kB"
        for check in (head, markup):
            yield from (f"{name}: {problem}" for problem in check(soup))


def check_files(html: Path) -> Iterator[str]:
    """The problems of every built page and style sheet, search and index included."""
    for page in sorted(html.rglob("*.html")):
        if "_static" in page.relative_to(html).parts:
            continue
        name = page.relative_to(html).as_posix()
        soup = BeautifulSoup(page.read_text(encoding="utf-8"), "html.parser")
        yield from (f"{name}: {problem}" for problem in images(soup))
        for check in (hosts, links, mathematics):
            yield from (f"{name}: {problem}" for problem in check(page, soup))
    for sheet in sorted(html.rglob("*.css")):
        for address in css_loads(sheet.read_text(encoding="utf-8")):
            if ELSEWHERE.match(address):
                yield f"{sheet.relative_to(html).as_posix()}: loads {address}"


def problems(root: Path, verbose: bool = False) -> list[str]:
    """Everything that is wrong with the built book of a project, one line each."""
    html = root / "_build" / "html"
    names = pages(yaml.safe_load((root / "_toc.yml").read_text(encoding="utf-8")))
    found = [*check_pages(html, names, verbose), *check_files(html)]
    if not (html / "index.html").is_file():
        found.append("index.html: was not built")
    return found


def main() -> int:
    """Print the problems, or the file to open; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--verbose", action="store_true", help="print the sizes of the pages")
    parser.add_argument("--root", type=Path, default=ROOT, help="the folder with _toc.yml")
    options = parser.parse_args()
    found = problems(options.root, options.verbose)
    for problem in found:
        print(f"check_book: {problem}", file=sys.stderr)
    if not found:
        print(f"the book is ready: open {options.root / '_build' / 'html' / 'index.html'}")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
