"""paramiko without Invoke: whoever needs it in the same process still gets it."""

from __future__ import annotations

import sys
import types
from pathlib import Path

import pytest

from fleetaudit.transport.ssh_transport import _deferred_import

NAME = "a_module_of_a_test"


@pytest.fixture(autouse=True)
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Provides a module that can be imported."""
    (tmp_path / f"{NAME}.py").write_text("answer = 42\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, NAME, raising=False)


def test_the_module_is_loaded_when_an_attribute_is_used() -> None:
    with _deferred_import(NAME):
        placeholder = __import__(NAME)
    assert NAME not in sys.modules
    assert placeholder.answer == 42
    assert sys.modules[NAME].answer == 42
    with pytest.raises(AttributeError):
        _ = placeholder.question


def test_a_module_that_is_loaded_already_stays_as_it_is() -> None:
    loaded = __import__(NAME)
    with _deferred_import(NAME):
        assert __import__(NAME) is loaded
    assert sys.modules[NAME] is loaded


def test_a_failed_import_leaves_no_placeholder() -> None:
    def import_both() -> None:
        with _deferred_import(NAME):
            __import__(NAME)
            __import__("no_such_module_of_a_test")

    with pytest.raises(ModuleNotFoundError):
        import_both()
    assert NAME not in sys.modules
    assert isinstance(__import__(NAME), types.ModuleType)
    assert __import__(NAME).answer == 42
