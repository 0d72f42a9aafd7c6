"""`services:` in a playbook: only listeners of the host itself, and nothing that is a secret."""

from __future__ import annotations

import pytest

from fleetaudit.errors import InputError
from fleetaudit.model import SERVICE_CHECKS, Condition, Service
from fleetaudit.playbook import parse_playbook


def services(*items: str) -> tuple[Service, ...]:
    """Returns the services of a playbook with these items, each in flow style."""
    lines = "".join(f"    - {item}\n" for item in items)
    text = f"- name: services\n  hosts: all\n  services:\n{lines}"
    return parse_playbook(text, source="services.yml").plays[0].services


def test_a_url_is_asked_on_the_loopback_in_every_way() -> None:
    (service,) = services("url: http://127.0.0.1:8080/upload")
    assert (service.address, service.port, service.name) == ("127.0.0.1", 8080, service.url)
    assert (service.method, service.body, service.tries) == ("POST", 20_000_000, 4)
    assert service.checks == SERVICE_CHECKS
    assert (service.idle_at_least, service.idle_at_most) == (None, 120)
    assert service.target == "http://127.0.0.1:8080/upload"


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("http://localhost/", ("127.0.0.1", 80)),
        ("https://LOCALHOST/", ("127.0.0.1", 443)),
        ("'http://[::1]:81/'", ("::1", 81)),
        ("'http://[0:0:0:0:0:0:0:1]:81/'", ("::1", 81)),
        ("http://127.1.2.3:8/", ("127.1.2.3", 8)),
        ("http://127.0.0.1/?author=a&keyword=b", ("127.0.0.1", 80)),
        ("http://www.example.org/\n      address: 127.0.0.1", ("127.0.0.1", 80)),
        ("http://www.example.org/\n      address: 192.0.2.7", ("192.0.2.7", 80)),
        ("http://192.0.2.7:8080/\n      address: 192.0.2.7", ("192.0.2.7", 8080)),
    ],
)
def test_a_url_names_the_listener(url: str, place: tuple[str, int]) -> None:
    (service,) = services(f"url: {url}")
    assert (service.address, service.port) == place


def test_a_port_is_asked_what_every_protocol_can_be_asked() -> None:
    one, other = services(
        "port: 6379", 'port: 25\n      address: "::1"\n      unread_request: {ending: FIN}'
    )
    assert (one.target, one.name, one.checks) == (
        "127.0.0.1:6379",
        "127.0.0.1:6379",
        ("unread request",),
    )
    assert (other.target, other.ending) == ("[::1]:25", "FIN")


def test_everything_that_can_be_written_is_read() -> None:
    (service,) = services(
        "url: http://127.0.0.1/up\n"
        "      name: upload\n"
        "      method: PUT\n"
        "      body: 512KiB\n"
        "      tries: 2\n"
        "      checks: [early answer, idle, unread request]\n"
        "      writings: [chunked, half-close]\n"
        "      early_answer: {status: [413, 401]}\n"
        "      idle: {at_least: 61, wait: 70}\n"
        '      unread_request: {send: "QUIT\\r\\n", ending: FIN}\n'
        "      severity: error\n"
        "      because: The load  balancer waits for 60 s.\n"
        "      fix: keepalive_timeout 75s;\n"
        "      tags: [front]\n"
        "      when: {groups: web}"
    )
    assert service == Service(
        name="upload",
        url="http://127.0.0.1/up",
        port=80,
        method="PUT",
        body=512 * 1024,
        tries=2,
        payload="QUIT\r\n",
        checks=("early answer", "idle", "unread request"),
        writings=("chunked", "half-close"),
        statuses=(413, 401),
        idle_at_least=61,
        idle_at_most=70,
        ending="FIN",
        severity="error",
        because="The load balancer waits for 60 s.",
        fix="keepalive_timeout 75s;",
        tags=("front",),
        when=Condition(groups=("web",)),
    )


@pytest.mark.parametrize(
    ("size", "size_in_bytes"),
    [("1", 1), ("20MB", 20_000_000), ("512 KiB", 524_288), ("1GB", 10**9), ("64K", 64_000)],
)
def test_a_body_has_a_size_with_a_unit(size: str, size_in_bytes: int) -> None:
    (service,) = services(f"url: http://127.0.0.1/\n      body: {size}")
    assert service.body == size_in_bytes


def test_a_wait_for_an_idle_connection_is_longer_than_it_is_to_stay_open() -> None:
    (service,) = services("url: http://127.0.0.1/\n      idle: {at_least: 600}")
    assert service.idle_at_most > 600


@pytest.mark.parametrize(
    ("item", "line", "message"),
    [
        ("url: http://example.org/", 4, "never on another one: example.org"),
        ("url: http://192.0.2.7/", 4, "never on another one: 192.0.2.7"),
        ("url: http://2130706433/", 4, "never on another one"),
        ("url: http://127.1/", 4, "never on another one"),
        ("url: http://127.0.0.1.example.org/", 4, "never on another one"),
        ("url: http://192.0.2.7/\n      address: 127.0.0.1", 4, "the URL has the address"),
        ("url: http://user:password@127.0.0.1/", 4, "without a user and a password"),
        ("url: http://127.0.0.1@example.org/", 4, "without a user and a password"),
        ("url: ftp://127.0.0.1/", 4, "begins with http:// or https://"),
        ("url: file:///etc/passwd", 4, "begins with http:// or https://"),
        ("url: 'http://127.0.0.1/{{ token }}'", 4, "no template"),
        ("url: http://127.0.0.1/?access_token=1", 4, "“access_token” in a URL looks like a secret"),
        ("url: http://127.0.0.1/?Authorization=1", 4, "“Authorization” in a URL looks like"),
        ("url: http://127.0.0.1/?a=1&API-Key=1", 4, "“API-Key” in a URL looks like a secret"),
        ("url: 'http://127.0.0.1/#top'", 4, "without “#”"),
        ("url: 'http://127.0.0.1/a b'", 4, "visible ASCII"),
        ('url: "http://127.0.0.1/\\r\\nX: 1"', 4, "visible ASCII"),
        ("url: http://127.0.0.1/ü", 4, "visible ASCII"),
        ("url: http://127.0.0.1:99999/", 4, "not a URL"),
        ("url: http://127.0.0.1:0/", 4, "the port 0"),
        ("url: 'http:///upload'", 4, "not a URL of a host and a path"),
        ("url: 'http://127.0.0.1?a=1'", 4, "not a URL of a host and a path"),
        ("url: HTTP://127.0.0.1/", 4, "begins with http:// or https://"),
        ("url: 'http://[::1/'", 4, "not a URL"),
        ("url: http://127.0.0.1/\n      port: 80", 4, "either a “url:” or a “port:”"),
        ("name: nothing", 4, "either a “url:” or a “port:”"),
        ("url: http://a.example/\n      address: 224.0.0.1", 5, "not an IP address"),
        ("url: http://a.example/\n      address: 0.0.0.0", 5, "not an IP address"),
        ("url: http://a.example/\n      address: fe80::1", 5, "not an IP address"),
        ("url: http://a.example/\n      address: '::1%lo'", 5, "not an IP address"),
        ("url: http://a.example/\n      address: ::ffff:192.0.2.1", 5, "not an IP address"),
        ("url: http://a.example/\n      address: b.example", 5, "not an IP address"),
        ("url: http://127.0.0.1/\n      body: 2GB", 5, "1 byte to 1 GB: “2GB”"),
        ("url: http://127.0.0.1/\n      body: 0", 5, "1 byte to 1 GB"),
        ("url: http://127.0.0.1/\n      body: large", 5, "1 byte to 1 GB"),
        ("url: http://127.0.0.1/\n      tries: 21", 5, "20"),
        ("url: http://127.0.0.1/\n      method: DELETE", 5, "DELETE"),
        ("url: http://127.0.0.1/\n      idle: {at_least: 61, wait: 60}", 5, "shows no close"),
        (
            "url: http://127.0.0.1/\n      checks: [idle]\n      early_answer: {status: 413}",
            6,
            "wi",
        ),
        ("port: 6379\n      checks: [idle]", 5, "asked of a URL only: idle"),
        ("port: 6379\n      idle: {at_least: 5}", 5, "without the check “idle”"),
        ("port: 6379\n      early_answer: {status: 413}", 5, "without the check “early answer”"),
        ("port: 6379\n      unread_request: {send: ü}", 5, ""),
        ("port: 6379\n      when: {kernel: new}", 5, "new"),
    ],
)
def test_what_makes_no_sense_is_refused_with_its_line(item: str, line: int, message: str) -> None:
    with pytest.raises(InputError) as e:
        services(item)
    assert e.value.line == line
    assert message in str(e.value)


def test_a_name_has_no_end_of_line() -> None:
    (service,) = services("port: 80\n      name: |\n        cache")
    assert service.name == "cache"


def test_two_services_of_one_name_are_refused() -> None:
    with pytest.raises(InputError, match=r"services.yml:5:7: two services of the name"):
        services("port: 6379", "port: 6379")


def test_a_finding_of_a_service_has_its_line() -> None:
    text = "- name: a\n  hosts: all\n  services:\n    - port: 25\n    - {port: 26, name: mail}\n"
    assert parse_playbook(text, source="a.yml").lines == {
        "service:127.0.0.1:25": 4,
        "service:mail": 5,
    }
