"""Parts of a user, forgotten again after each test."""

import sys
from importlib import import_module
from pathlib import Path

import pytest

collect_ignore = ["parts.py"]  # which would be imported to look for doctests


@pytest.fixture
def parts(monkeypatch, registries):
    """Return the module that registers parts, imported."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    sys.modules.pop("parts", None)
    yield import_module("parts")
    sys.modules.pop("parts", None)
