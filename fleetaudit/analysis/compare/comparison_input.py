"""What the parts of a comparison start from."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from fleetaudit.model import Audited, NotAudited, ScenarioRow

from .common import BehaviourGroup, BuildKey
from .scenario_groups import ScenarioGroups
from .view_model import Build


class ComparisonInput(msgspec.Struct, frozen=True, kw_only=True):
    """What the parts of a comparison start from.

    `groups` are the audited hosts by behaviour. `by_scenario`, `scenarios` and `anchors` are by the
    name of the scenario, `builds` in the order of the report.
    """

    audited: tuple[Audited, ...]
    not_audited: tuple[NotAudited, ...]
    groups: tuple[BehaviourGroup, ...]
    by_scenario: ScenarioGroups
    scenarios: Mapping[str, ScenarioRow]
    anchors: Mapping[str, str]
    builds: Mapping[BuildKey, Build]
