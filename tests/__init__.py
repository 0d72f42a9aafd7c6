"""The tests, in folders by what they need; `unit/` needs nothing but Python and mirrors the
packages.
"""

from pathlib import Path

ROOT = Path(__file__).parent.parent
"""The folder of the project: pyproject.toml, docs/, playbooks/."""
DATA = Path(__file__).parent / "data"
SCHEMAS = ROOT / "fleetaudit" / "schema"
"""The published JSON Schemas."""
