"""One public address: pyproject.toml has it, every other file repeats it."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml
from repository import ADDRESS, AddressError, colab_link, current, main, set_address

ROOT = Path(__file__).resolve().parent.parent
TEXT = {".cfg", ".ipynb", ".md", ".py", ".toml", ".txt", ".yml"}
HERE = "https://github.com/{}/{}"
OLD = "https://github.com/no.body/old-name"
NEW, NEWER = "https://github.com/ann-lee/rebuilt", "https://github.com/B0b/re.built_2"


def addresses(text):
    """(OWNER, NAME) of every address of a repository, and of every link to Colab, in a text."""
    hosts = r"https?://(github\.com|colab\.research\.google\.com/github)/"
    found = re.findall(hosts + r"([\w.-]+)/([\w.-]*\w)", text)
    return [(host.startswith("colab"), owner, name) for host, owner, name in found]


def strangers(text, address):
    """Addresses that should be `address` but are not.

    Links to Colab and what pip installs are always ours; another address is ours if it has
    our owner or our name.
    """
    owner, name = address.split("/")[-2:]
    ours = [(o, n) for colab, o, n in addresses(text) if colab or o == owner or n == name] + [
        (o, n) for _, o, n in addresses(" ".join(re.findall(r"git\+(\S+)", text)))
    ]
    return [HERE.format(*pair) for pair in ours if pair != (owner, name)]


def texts():
    """The text files of the working tree, without these tests and their made-up addresses."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if listed.returncode == 0:
        paths = [ROOT / line for line in listed.stdout.splitlines()]
    else:  # not a clone: a downloaded archive
        paths = [p for p in ROOT.rglob("*") if not {".venv", "_build"} & set(p.parts)]
    return [
        path
        for path in paths
        if path.suffix in TEXT and path.is_file() and path.parent != ROOT / "tests"
    ]


# --- The repository itself --------------------------------------------------------------


def test_one_address_everywhere():
    address = current(ROOT)
    found = {path.name: strangers(path.read_text("utf-8"), address) for path in texts()}
    assert not {name: wrong for name, wrong in found.items() if wrong}


@pytest.mark.parametrize("file", ["pyproject.toml", "_config.yml", "README.md"])
def test_address_is_where_readers_and_tools_look(file):
    assert current(ROOT) in (ROOT / file).read_text("utf-8")


def test_placeholder_cannot_be_anybodys():
    """GitHub's account names have no dots, so the placeholder leads nowhere."""
    address = current(ROOT)
    is_placeholder = "." in address.split("/")[-2]
    assert is_placeholder != bool(ADDRESS.fullmatch(address))
    assert is_placeholder == ("address-not-set" in address)


def test_strangers_are_seen():
    text = f"see {NEW}, {colab_link(NEWER, '01_x.ipynb')}. pip install git+{OLD}"
    assert strangers(text, NEW) == [NEWER, OLD]
    assert strangers("https://github.com/google-research/tf-slim", NEW) == []
    assert strangers("https://github.com/ann-lee/other and x/rebuilt", NEW) == [
        "https://github.com/ann-lee/other"
    ]


@pytest.mark.parametrize("name", ["test", "weekly", "publish"])
def test_workflow_is_careful(name):
    """Read-only by default, never two at once, with a time limit, actions by major version."""
    text = (ROOT / ".github" / "workflows" / f"{name}.yml").read_text("utf-8")
    workflow = yaml.safe_load(text)
    assert workflow["permissions"] == {"contents": "read"}
    assert workflow["concurrency"]["group"]
    for job in workflow["jobs"].values():
        assert job["timeout-minutes"] <= 60
        used = [step["uses"] for step in job["steps"] if "uses" in step]
        assert all(re.fullmatch(r"actions/[\w-]+@v\d+", action) for action in used)


# --- The tool ---------------------------------------------------------------------------


@pytest.fixture
def tree(tmp_path):
    """A small repository with the address in all its shapes."""
    files = {
        "pyproject.toml": f'[project.urls] # the truth\nRepository = "{OLD}"\n',
        "_config.yml": f"repository:\n  url: {OLD}\n  branch: main\n",
        "README.md": f"Clone {OLD}.\r\nNot {OLD}-more, not {OLD}.git\r\n",
        "intro.md": f"[Colab]({colab_link(OLD, '01_x.ipynb')})\n",
        "pages/errata.md": f"<{OLD}/issues>\n",
        "chapters/01_x.ipynb": '{\n "source": ["%pip git+' + OLD + '",  "\\u00e9 é"]\n}',
        "src/course_utils/data.py": f'HOME = "{OLD}"\n',
        "notes.txt": f"{OLD} is left as it is: no reader comes here\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(text.encode())
    return tmp_path


def contents(tree):
    return {path: path.read_bytes() for path in sorted(tree.rglob("*")) if path.is_file()}


def test_set_and_set_again(tree):
    before = contents(tree)
    changed = set_address(tree, NEW)
    assert len(changed) == 7
    assert current(tree) == NEW
    assert set_address(tree, NEWER) == changed
    assert current(tree) == NEWER
    # Everything but the address is as before, byte for byte, and no file is left over.
    short_old, short_new = (a.removeprefix("https://github.com/") for a in (OLD, NEWER))
    for path, data in contents(tree).items():
        expected = before.pop(path).decode()
        if path.name == "README.md":
            expected = expected.replace(f"Clone {OLD}.", f"Clone {NEWER}.")
        elif path.name != "notes.txt":
            expected = expected.replace(short_old, short_new)
        assert data.decode() == expected
    assert not before


def test_setting_the_same_address_changes_nothing(tree):
    set_address(tree, NEW)
    assert set_address(tree, NEW) == []


@pytest.mark.parametrize(
    "address",
    [
        "",
        "rebuilt",
        "ann-lee/rebuilt",
        "http://github.com/ann-lee/rebuilt",
        "https://gitlab.com/ann-lee/rebuilt",
        "https://github.com/ann-lee",
        "https://github.com/ann-lee/",
        "https://github.com/ann-lee/rebuilt/",
        "https://github.com/ann-lee/rebuilt.git",
        "https://github.com/ann-lee/rebuilt/tree/main",
        "https://github.com/ann-lee/..",
        "https://github.com/ann.lee/rebuilt",
        "https://github.com/-ann/rebuilt",
        "https://github.com/ann--lee/rebuilt",
        f"https://github.com/{'a' * 40}/rebuilt",
        f"https://github.com/ann-lee/{'a' * 101}",
        "https://github.com/ann-lee/re built",
        "https://github.com/ann-lee/rebuilt\n",
        "git@github.com:ann-lee/rebuilt",
    ],
)
def test_bad_address_leaves_everything_untouched(address, tree):
    before = contents(tree)
    with pytest.raises(AddressError, match="OWNER/NAME"):
        set_address(tree, address)
    assert contents(tree) == before


def test_unreadable_file_leaves_everything_untouched(tree):
    (tree / "pages/zz.md").write_bytes(b"\xff" + OLD.encode())
    before = contents(tree)
    with pytest.raises(UnicodeDecodeError):
        set_address(tree, NEW)
    assert contents(tree) == before


@pytest.mark.parametrize("arguments", [[], [""], ["x", "y"]])
def test_command_line_says_what_is_wrong_in_one_line(arguments, capsys):
    assert main(arguments) == 1
    assert len(capsys.readouterr().out.splitlines()) == 1
