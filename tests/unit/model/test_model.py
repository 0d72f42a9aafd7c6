"""The nouns: frozen, exported, bounded where a host can fill them; passwords that never show."""

from __future__ import annotations

import ast
import copy
import pickle
from pathlib import Path

import msgspec
import pytest

from fleetaudit import model
from fleetaudit.model import Os, Scenario, Secret, Step, step_text

FOLDER = Path(model.__file__).parent


def public_names(path: Path) -> list[str]:
    names = list[str]()
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.append(node.name)
        elif isinstance(node, ast.Assign):
            names += [target.id for target in node.targets if isinstance(target, ast.Name)]
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names.append(node.target.id)
    return [name for name in names if not name.startswith("_")]


def test_the_package_exports_every_noun_of_its_modules() -> None:
    modules = [path for path in FOLDER.glob("*.py") if path.stem not in ("__init__", "core_dumps")]
    names = [name for path in modules for name in public_names(path)]
    assert sorted(names) == sorted(model.__all__)


def test_every_noun_is_immutable() -> None:
    nouns = [getattr(model, name) for name in model.__all__]
    structs = [noun for noun in nouns if isinstance(noun, type) and issubclass(noun, model.Frozen)]
    assert len(structs) > 30
    assert all(noun.__struct_config__.frozen for noun in structs)


def test_a_text_of_a_host_is_bounded() -> None:
    with pytest.raises(msgspec.ValidationError, match="length <= 256"):
        msgspec.convert({"id": "x" * 257}, Os)


def test_a_password_is_neither_printed_nor_stored() -> None:
    secret = Secret("hunter2")
    assert "hunter2" not in f"{secret} {secret!r} {hash(secret)}"
    assert secret.reveal() == "hunter2"
    with pytest.raises(TypeError, match="not stored"):
        pickle.dumps(secret)
    with pytest.raises(TypeError, match="not stored"):
        copy.copy(secret)
    with pytest.raises(TypeError):
        msgspec.json.encode({"password": secret})


def test_passwords_are_equal_if_their_texts_are() -> None:
    assert Secret("a") == Secret("a")
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"


def test_a_step_has_an_actor_and_a_verb() -> None:
    step = Step(text="peer sends 5 bytes", call=("peer", "send", 5))
    assert (step.actor, step.verb) == ("peer", "send")


@pytest.mark.parametrize(("index", "text"), [(0, "closer closes"), (1, "step 2"), (-1, "step 0")])
def test_a_step_that_a_scenario_does_not_have_is_named_by_its_number(index: int, text: str) -> None:
    assert step_text(("closer closes",), index) == text


def test_a_positive_control_expects_rst_and_names_no_control() -> None:
    scenario = Scenario(name="a", title="A", steps=(), expect=("RST",))
    assert scenario.is_positive_control
    assert not msgspec.structs.replace(scenario, control="b").is_positive_control
    assert not msgspec.structs.replace(scenario, expect=("FIN",)).is_positive_control
