"""Files of secrets are recognized by how they begin, and inventories are not."""

from __future__ import annotations

import pytest

from fleetaudit.errors import InputError
from fleetaudit.text.secret_files import secret_kind
from fleetaudit.text.yaml_lines import decode_utf8
from tests import DATA, ROOT

SECRETS = {
    "-----BEGIN OPENSSH PRIVATE KEY-----\nb3Bl\n": "a private key",
    "\n\n-----BEGIN RSA PRIVATE KEY-----\nb3Bl\n": "a private key",
    "-----BEGIN PRIVATE KEY-----\n": "a private key",
    "PuTTY-User-Key-File-3: ssh-ed25519\n": "a private key",
    "root:$6$x$y:19876:0:99999:7:::\n": "passwords",
    "root:*:19876:0:99999:7:::\ndaemon:*:1:0:9:7:::\n": "passwords",
    "root:$y$j9T$abc$def:19876::::::": "passwords",
    "me:$apr1$12345678$abcdefgh\n": "passwords",
}
HARMLESS = (
    "",
    "web1\n",
    "web1:22 x=1\n",
    "[web]\nweb1 ansible_host=2001:db8::1\n",
    "2001:db8:1:2:3:4:5:6\n",
    "fe80::1\n",
    "all:\n  hosts:\n    a:b: \n",
    "-----BEGIN CERTIFICATE-----\n",
    "[defaults]\nx = root:$6$x$y:1:2:3:4:::\n",
)


@pytest.mark.parametrize("text", SECRETS)
def test_a_secret_is_recognized_and_never_quoted(text: str) -> None:
    assert secret_kind(text) == SECRETS[text]
    with pytest.raises(InputError, match=f"f:1: not read: it begins with {SECRETS[text]}") as e:
        decode_utf8(text.encode(), source="f")
    assert len(str(e.value)) < 60


@pytest.mark.parametrize("text", HARMLESS)
def test_what_is_no_secret_is_read(text: str) -> None:
    assert secret_kind(text) == ""


def test_no_file_of_the_project_looks_like_a_secret() -> None:
    files = [*(ROOT / "playbooks").glob("*.yml"), *(DATA / "inventories").rglob("*")]
    files = [file for file in files if file.is_file()]
    assert len(files) > 10
    for file in files:
        assert secret_kind(file.read_bytes().decode("utf-8", "replace")) == "", file
