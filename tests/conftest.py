"""Settings of all tests: the tools can be imported, and the marks are known."""

import sys
from pathlib import Path

import pytest

TOOLS = Path(__file__).resolve().parent.parent / "tools"
sys.path.insert(0, str(TOOLS))
pytest.register_assert_rewrite("checker_tests", "saving")


def pytest_configure(config):
    config.addinivalue_line("markers", "colab: runs a chapter alone, as Colab does; slow")
    config.addinivalue_line("markers", "pinned: holds only with the pinned versions")
