"""A chapter alone in an empty folder, in an environment that has the libraries only: Colab.

The environment is a venv that sees the installed libraries through links, but neither the
repository nor its editable install. No network is used.
"""

import csv
import os
import shutil
import subprocess
import sys
import sysconfig
from importlib.metadata import version
from pathlib import Path

import nbformat
import pytest
from chapter_rules import SET_UP
from nbformat.v4 import new_code_cell, new_notebook
from repository import current

ROOT = Path(__file__).resolve().parent.parent
LIBRARIES = ["numpy", "tensorflow", "keras", "torch", "matplotlib", "scikit-learn"]
RUN = """\
import sys, nbformat
from nbclient import NotebookClient
notebook = nbformat.read(sys.argv[1], 4)
options = ["--IPKernelApp.capture_fd_output=False"]
NotebookClient(notebook, timeout=300, kernel_name="python3", extra_arguments=options).execute()
for cell in notebook.cells:
    for output in cell.get("outputs", []):
        print(output.get("text", ""), end="")
"""
WHERE = """\
import importlib.util
spec = importlib.util.find_spec("course_utils")
print(spec.origin if spec else "")
"""
pytestmark = pytest.mark.colab


class Machine:
    """A machine with the libraries: a venv, a home and an empty folder, all under `place`."""

    def __init__(self, place: Path):
        self.home, self.folder, self.scratch = (
            place / name for name in ("home", "folder", "scratch")
        )
        for folder in (self.home, self.folder, self.scratch):
            folder.mkdir()
        venv = place / "venv"
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
        self.python = venv / "bin" / "python"
        self.site = Path(sysconfig.get_path("purelib", vars={"base": str(venv)}))
        libraries = place / "libraries"
        link_libraries(libraries)
        (self.site / "libraries.pth").write_text(f"{libraries}\n")
        self.environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("PYTHON", "JUPYTER", "IPYTHON", "COURSE_", "PYTEST"))
        } | {
            "HOME": str(self.home),
            "TMPDIR": str(self.scratch),
            "JUPYTER_DATA_DIR": str(self.home / ".jupyter"),  # no kernel but the venv's own
            "MPLBACKEND": "",
            "OMP_NUM_THREADS": "1",
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "http_proxy": "http://127.0.0.1:9",  # nobody serves there
            "https_proxy": "http://127.0.0.1:9",
            "no_proxy": "",
            "PIP_NO_INDEX": "1",
            "PIP_CONFIG_FILE": os.devnull,
        }

    def run(self, *arguments, **environment):
        """Run Python in the folder; fail the test with what it said if it failed."""
        ran = subprocess.run(
            [self.python, *map(str, arguments)],
            cwd=self.folder, env=self.environment | environment,
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert ran.returncode == 0, ran.stdout + ran.stderr[-5000:]
        return ran.stdout

    def imports_from(self):
        """Where course_utils is imported from, "" if it is not there."""
        return self.run("-c", WHERE).strip()


def link_libraries(folder: Path) -> None:
    """Link all that is installed here, except what belongs to the course's package."""
    folder.mkdir()
    for site in {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}:
        for path in Path(site).iterdir():
            if "course_utils" not in path.name and path.suffix != ".pth":
                (folder / path.name).symlink_to(path)


def copy_package(folder: Path) -> Path:
    """Copy what the package is built from: building leaves files beside it."""
    left_out = shutil.ignore_patterns("*.egg-info", "__pycache__")
    shutil.copytree(ROOT / "src", folder / "src", ignore=left_out)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    return folder


def quickest_chapter() -> Path:
    """The chapter that took the fewest seconds when its outputs were stored."""
    with (ROOT / "results" / "chapters.csv").open(newline="", encoding="utf-8") as file:
        row = min(csv.DictReader(file), key=lambda row: float(row["seconds"]))
    return ROOT / "chapters" / f"{row['chapter']}.ipynb"


@pytest.fixture
def machine(tmp_path):
    machine = Machine(tmp_path)
    assert machine.imports_from() == "", "the editable install can be seen: nothing is tested"
    return machine


def test_chapter_alone_with_the_wheel(machine, tmp_path):
    source = copy_package(tmp_path / "source")
    build = ["--no-deps", "--no-build-isolation", "--quiet", "--wheel-dir", tmp_path, source]
    machine.run("-m", "pip", "wheel", *build)
    (wheel,) = tmp_path.glob("*.whl")
    machine.run("-m", "pip", "install", "--no-deps", "--quiet", wheel)
    assert machine.imports_from() == str(machine.site / "course_utils" / "__init__.py")

    chapter = quickest_chapter()
    shutil.copy(chapter, machine.folder)
    machine.run("-c", RUN, chapter.name)
    assert os.listdir(machine.folder) == [chapter.name]
    # The libraries' own settings and caches are hidden folders.
    assert [name for name in os.listdir(machine.home) if not name.startswith(".")] == []
    # The libraries' own caches may stay: tf.function's compiled Python, PyTorch's compiler.
    caches = ("__pycache__", "torchinductor_")
    assert [name for name in os.listdir(machine.scratch) if not name.startswith(caches)] == []


def test_a_chapter_that_fails_is_seen(machine):
    notebook = new_notebook(cells=[new_code_cell("import course_utils")])
    nbformat.write(notebook, machine.folder / "bad.ipynb")
    with pytest.raises(AssertionError, match="ModuleNotFoundError"):
        machine.run("-c", RUN, "bad.ipynb")


@pytest.mark.skipif(not shutil.which("git"), reason="the set-up cell installs with git")
def test_set_up_cell_installs_the_package_and_nothing_else(machine, tmp_path):
    address = current(ROOT)
    source = copy_package(tmp_path / "source")
    for command in (
        ["init", "--quiet"],
        ["add", "."],
        [
            "-c",
            "user.name=n",
            "-c",
            "user.email=e@example.org",
            "commit",
            "--quiet",
            "-m",
            "all",
        ],
    ):
        subprocess.run(["git", *command], cwd=source, env=machine.environment, check=True)
    on_colab = "import sys, types\nsys.modules['google.colab'] = types.ModuleType('colab')"
    versions = (
        f"from importlib.metadata import version\nfor n in {LIBRARIES}: print(version(n))"
    )
    where = "import course_utils\nprint(course_utils.__file__)"
    sources = [on_colab, SET_UP.format(address=address), versions, where]
    nbformat.write(
        new_notebook(cells=[new_code_cell(source) for source in sources]),
        machine.folder / "set_up.ipynb",
    )
    said = machine.run(
        "-c", RUN, "set_up.ipynb",
        GIT_CONFIG_COUNT="1",
        GIT_CONFIG_KEY_0=f"url.{source.as_uri()}.insteadOf",
        GIT_CONFIG_VALUE_0=address,
        PIP_NO_BUILD_ISOLATION="0",  # pip's way to say yes to this option
    ).splitlines()  # fmt: skip
    expected = [version(name) for name in LIBRARIES]
    assert said[-7:] == [*expected, str(machine.site / "course_utils" / "__init__.py")]
    assert set(os.listdir(machine.site)) == {
        "course_utils",
        f"course_utils-{version('course-utils')}.dist-info",
        "libraries.pth",
    }


def test_set_up_cell_does_nothing_elsewhere(machine):
    cells = [new_code_cell(SET_UP.format(address=current(ROOT)))]
    nbformat.write(new_notebook(cells=cells), machine.folder / "set_up.ipynb")
    assert machine.run("-c", RUN, "set_up.ipynb") == ""
    assert machine.imports_from() == ""
