"""Tags select as in Ansible."""

from __future__ import annotations

import pytest

from fleetaudit.playbook.tags import is_selected_by_tags


@pytest.mark.parametrize(
    ("tags", "only", "skip", "taken"),
    [
        ([], [], [], True),
        (["x"], [], [], True),
        ([], ["x"], [], False),
        (["x"], ["x"], [], True),
        (["x", "y"], ["y"], [], True),
        (["x"], ["y"], [], False),
        (["always"], ["y"], [], True),
        (["always"], ["y"], ["always"], False),
        (["never"], [], [], False),
        (["never"], ["all"], [], False),
        (["never", "x"], ["x"], [], True),
        (["x"], ["tagged"], [], True),
        ([], ["tagged"], [], False),
        ([], ["untagged"], [], True),
        (["x"], ["untagged"], [], False),
        (["x"], [], ["x"], False),
        (["x"], ["x"], ["x"], False),
        ([], [], ["x"], True),
        (["x"], [], ["all"], False),
        (["always"], [], ["all"], True),
        (["x"], [], ["tagged"], False),
        ([], [], ["untagged"], False),
    ],
)
def test_tags_select_as_those_of_ansible(
    tags: list[str], only: list[str], skip: list[str], taken: bool
) -> None:
    assert is_selected_by_tags(tags, only, skip) is taken
