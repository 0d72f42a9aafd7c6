"""The versions of Debian packages are compared as dpkg itself compares them."""

from __future__ import annotations

import random
import shutil
import subprocess

import pytest

from fleetaudit.text.debian_versions import debian_version_key

# Versions are made of these, so that dpkg accepts each of them.
PIECES = ["0", "00", "1", "9", "10", "010", "a", "b", "Z", "rc", "+", "~", "~~", ".", "bpo", "deb"]


@pytest.mark.skipif(not shutil.which("dpkg"), reason="no dpkg")
def test_thousands_of_pairs_compare_as_dpkg_compares_them() -> None:
    pairs = [*_pairs(random.Random(7), 4000)]
    answers = _dpkg_answers(pairs)
    assert set(answers) == {"<", "=", ">"}
    for (one, two), answer in zip(pairs, answers, strict=True):
        first, second = debian_version_key(one), debian_version_key(two)
        assert (first < second, first == second) == (answer == "<", answer == "="), (one, two)


def _pairs(choice: random.Random, number: int) -> list[tuple[str, str]]:
    """Returns pairs of versions; every second pair differs in one piece only."""
    pairs = []
    for n in range(number):
        one = _pieces(choice)
        two = [*one] if n % 2 else _pieces(choice)
        two[choice.randrange(len(two))] = choice.choice(PIECES)
        pairs.append((_version(choice, one), _version(choice, two)))
    return pairs


def _pieces(choice: random.Random) -> list[str]:
    return choice.choices(PIECES, k=choice.randint(1, 5))


def _version(choice: random.Random, pieces: list[str]) -> str:
    """Returns a version that dpkg accepts: it begins with a digit, and a revision is not empty."""
    ending = choice.choice(["", "-0", "-1", "-1~bpo12+1", "-" + "".join(pieces[:2])])
    return choice.choice(["", "0:", "1:"]) + "1" + "".join(pieces) + ending


def _dpkg_answers(pairs: list[tuple[str, str]]) -> list[str]:
    """Returns how dpkg compares each pair: "<", "=" or ">"."""
    script = (
        'while read -r a b; do if dpkg --compare-versions "$a" lt "$b"; then echo "<";'
        ' elif dpkg --compare-versions "$a" eq "$b"; then echo "="; else echo ">"; fi; done'
    )
    lines = "".join(f"{one} {two}\n" for one, two in pairs)
    done = subprocess.run(
        ["sh", "-c", script], input=lines, capture_output=True, text=True, timeout=300, check=True
    )
    return done.stdout.split()
