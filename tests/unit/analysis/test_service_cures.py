"""The table of servers and cures: who answers, and a source for each advice."""

from __future__ import annotations

import pytest

from fleetaudit.analysis.services import find_cure, find_product
from fleetaudit.analysis.services.servers import CURES
from fleetaudit.model import SERVICE_CHECKS
from tests import ROOT


@pytest.mark.parametrize(
    ("server", "executable", "product"),
    [
        ("nginx/1.22.1", "", "nginx"),
        ("nginx/1.22.1", "/usr/sbin/haproxy", "haproxy"),
        ("", "/usr/sbin/haproxy", "haproxy"),
        ("Apache/2.4.62 (Debian)", "/usr/sbin/apache2", "apache"),
        ("Apache-Coyote/1.1", "/usr/bin/java", "tomcat"),
        ("gunicorn/20.1.0", "/usr/bin/python3.11", "gunicorn"),
        ("uvicorn", "/usr/bin/python3.11", "uvicorn"),
        ("Caddy", "", "caddy"),
        ("", "/usr/bin/node", "node"),
        ("", "/usr/bin/python3.11", ""),
        ("\x1b[2Jnginx", "", ""),
        ("", "", ""),
    ],
)
def test_a_server_is_known_by_its_executable_or_its_header(
    server: str, executable: str, product: str
) -> None:
    assert find_product(server, executable) == product


def test_every_check_has_a_cure_for_every_server() -> None:
    for product in {cure.product for cure in CURES} | {"unheard-of"}:
        for check in SERVICE_CHECKS:
            cure = find_cure(product, check)
            assert cure.check == check
            assert cure.product in (product, "")


def test_every_cure_has_a_source_and_stands_once() -> None:
    assert all(cure.text and all(cure.sources) and cure.sources for cure in CURES)
    assert len({(cure.product, cure.check) for cure in CURES}) == len(CURES)
    assert str(find_cure("nginx", "idle")).endswith("#keepalive_timeout)")


def test_the_documentation_has_every_cure_with_its_sources() -> None:
    text = (ROOT / "docs" / "services.md").read_text()
    for cure in CURES:
        assert f"| {cure.check} | {cure.text} | " in text
        assert all(source in text for source in cure.sources)
