"""Set the public address everywhere: `make repository URL=https://github.com/OWNER/NAME`.

The address in pyproject.toml is the truth; every other file repeats it. Nothing is written
before the new contents of all files are known.
"""

import re
import sys
import tomllib
from pathlib import Path

from files import ROOT, write_whole

HOLDERS = [
    "pyproject.toml",
    "_config.yml",
    "*.md",
    "pages/*.md",
    "chapters/*.ipynb",
    "src/**/*.py",
]
# Owner: letters, digits and single hyphens inside. Name: also dots and underscores.
ADDRESS = re.compile(
    r"https://github\.com/"
    r"(?P<owner>(?=[^/]{1,39}/)[A-Za-z0-9]+(?:-[A-Za-z0-9]+)*)/"
    r"(?P<name>(?!\.{1,2}$)(?!.*\.git$)[A-Za-z0-9._-]{1,100})"
)


class AddressError(ValueError):
    """An address that cannot be set; the text says why."""


def current(root: Path) -> str:
    """The address that pyproject.toml has."""
    with (root / "pyproject.toml").open("rb") as file:
        return tomllib.load(file)["project"]["urls"]["Repository"]


def colab_link(address: str, chapter: str) -> str:
    """The link that opens a chapter, such as "01_convolution_arithmetic.ipynb", in Colab."""
    owner_and_name = address.removeprefix("https://github.com/")
    return (
        "https://colab.research.google.com/github/"
        f"{owner_and_name}/blob/main/chapters/{chapter}"
    )


def check(address: str) -> None:
    """Raise AddressError unless `address` is https://github.com/OWNER/NAME."""
    if not ADDRESS.fullmatch(address):
        raise AddressError(
            f"{address!r} is no address of the form https://github.com/OWNER/NAME "
            "(no .git and no slash at the end)"
        )


def replace(text: str, old: str, new: str) -> str:
    """Replace the address `old`, also inside links to Colab, by `new`."""
    before, after = (address.removeprefix("https://github.com/") for address in (old, new))
    hosts = r"(https://(?:github\.com|colab\.research\.google\.com/github)/)"
    not_longer = r"(?![\w-]|\.\w)"  # a full stop ends a sentence, ".x" goes on
    return re.sub(hosts + re.escape(before) + not_longer, rf"\g<1>{after}", text)


def set_address(root: Path, new: str) -> list[Path]:
    """Write the address `new` into every file that holds the old one; return these files.

    Raises AddressError, before anything is written, if the address cannot be set.
    """
    check(new)
    old = current(root)
    changed = {}
    for path in sorted({path for holder in HOLDERS for path in root.glob(holder)}):
        text = path.read_bytes().decode()  # bytes: line ends stay what they are
        replaced = replace(text, old, new)
        if replaced != text:
            changed[path] = replaced.encode()
    for path, data in changed.items():
        write_whole(path, data)
    return list(changed)


def main(arguments: list[str]) -> int:
    """Set the address given on the command line; 1 if it cannot be set."""
    try:
        (new,) = arguments
        changed = set_address(ROOT, new)
    except ValueError as error:
        print(error if isinstance(error, AddressError) else "give one address")
        return 1
    print(f"{new} now stands in {len(changed)} changed files")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
