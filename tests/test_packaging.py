"""The package fits where readers are: Colab's versions, the pinned ones, either framework."""

import subprocess
import sys
import tomllib
from importlib.metadata import distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
NOT_PINNED = {"pip", "wheel", "course-utils"}
# PyTorch for GPUs brings these along; which of them depends on the machine.
OF_GPU = ("nvidia-", "cuda-", "triton")
HEAVY = {"tensorflow", "keras", "torch", "sklearn", "matplotlib", "scipy", "pooch"}


def requirements(lines):
    """Parse the lines of a requirements file, comments left out."""
    stripped = (line.partition("#")[0].strip() for line in lines)
    return [Requirement(line) for line in stripped if line]


def pins(path):
    """Name -> version of a file whose lines all are name==version."""
    return {
        canonicalize_name(pin.name): str(pin.specifier).removeprefix("==")
        for pin in requirements(path.read_text("utf-8").splitlines())
    }


# --- Colab ------------------------------------------------------------------------------


def misfits(wanted, versions):
    """The requirements that are not met by these versions."""
    return [str(r) for r in wanted if not r.specifier.contains(versions.get(r.name, "0"))]


def our_requirements():
    extras = PROJECT["optional-dependencies"].values()
    lines = [*PROJECT["dependencies"], *(line for extra in extras for line in extra)]
    return [*map(Requirement, lines), Requirement("python" + PROJECT["requires-python"])]


def test_colab_has_all_that_the_package_needs():
    assert misfits(our_requirements(), pins(ROOT / "tests" / "colab_versions.txt")) == []


def test_misfits_are_seen():
    wanted = requirements(["numpy>=2.2", "torch>=2.5", "pooch"])
    assert misfits(wanted, {"numpy": "2.1.3", "pooch": "1.8"}) == ["numpy>=2.2", "torch>=2.5"]


# --- The pinned environment -------------------------------------------------------------


def unpinned(installed, pinned):
    """What is installed otherwise than pinned: name -> (installed, pinned) versions."""
    names = {
        name
        for name in installed.keys() | pinned.keys()
        if name not in NOT_PINNED and not name.startswith(OF_GPU)
    }
    pairs = {name: (installed.get(name), pinned.get(name)) for name in sorted(names)}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


@pytest.mark.pinned
def test_installed_is_what_is_pinned():
    installed = {
        # "2.13.0+cpu" is the pinned 2.13.0
        canonicalize_name(found.name): str(Version(found.version).public)
        for found in distributions()
    }
    assert unpinned(installed, pins(ROOT / "requirements.txt")) == {}


def test_differences_from_the_pins_are_seen():
    installed = {"numpy": "2.1", "tqdm": "4.1", "left-over": "1", "pip": "24", "nvidia-x": "1"}
    assert unpinned(installed, {"numpy": "2.2", "tqdm": "4.1", "missing": "3"}) == {
        "left-over": ("1", None),
        "missing": (None, "3"),
        "numpy": ("2.1", "2.2"),
    }


def test_pins_are_exact():
    lines = (ROOT / "requirements.txt").read_text("utf-8").splitlines()
    loose = [
        str(pin)
        for pin in requirements(lines)
        if [s.operator for s in pin.specifier] != ["=="] or "*" in str(pin.specifier)
    ]
    assert not loose


def test_pins_fit_the_package():
    assert misfits(our_requirements()[:-1], pins(ROOT / "requirements.txt")) == []


# --- Imports ----------------------------------------------------------------------------


def loaded(statement):
    """The top-level modules that a fresh interpreter has after one statement."""
    code = f"import sys; {statement}; print(*{{name.split('.')[0] for name in sys.modules}})"
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    return set(ran.stdout.split())


def test_loaded_modules_are_seen():
    assert {"json", "sys"} <= loaded("import json.tool")
    assert "json" not in loaded("import os")


@pytest.mark.parametrize(
    ("module", "without"),
    [
        ("course_utils", HEAVY | {"numpy"}),
        ("course_utils.check", {"tensorflow", "keras", "torch"}),
        ("course_utils.tf", {"torch"}),
        ("course_utils.pt", {"tensorflow", "keras"}),
    ],
)
def test_import_brings_no_more_than_it_must(module, without):
    found = loaded(f"import {module}")
    assert "course_utils" in found
    assert not found & without
