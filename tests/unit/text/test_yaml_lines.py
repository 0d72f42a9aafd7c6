"""YAML with lines: the values are SafeLoader's own, and what it passes over in silence is refused
where it stands.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from fleetaudit.errors import InputError, NothingToDoError
from fleetaudit.text.document import Position
from fleetaudit.text.typed_documents import convert_document
from fleetaudit.text.yaml_builder import MAX_DEPTH
from fleetaudit.text.yaml_lines import load_yaml, parse_yaml

SCALARS = """
0022 0o22 0x1F 0b101 1_000 12:30 1:30.5 -5 +5 08 1e3 1.0e+3 .5 5. .inf -.INF 190:20:30
yes No on OFF true y
null ~ Null 2001-01-01 2001-12-14t21:59:43.10-05:00 1.2.3.4 00:16:3e:01:02:03
!!str 5 !!int "5" !!float 1
!!binary aGVsbG8= "5" '5' "yes" ! 5 << a#b @ é “x” !!bool yes !!null x 1,2 123456. 0.10 -
"""


def reference(text: str) -> Any:
    """Reads with PyYAML's SafeLoader over libyaml, as Ansible does."""
    return yaml.load(text, Loader=yaml.CSafeLoader)


def refusal(text: str) -> InputError:
    with pytest.raises(InputError) as caught:
        parse_yaml(text, source="hosts.yml")
    return caught.value


@pytest.mark.parametrize(
    "text",
    [
        *(
            f"k: {word}"
            for word in SCALARS.split()
            if word not in ("@", "!", "-", "!!str", "!!int", "!!float")
        ),
        "k: !!str 5",
        'k: !!int "5"',
        "k: ! 5",
        "k:",
        "2: a\nyes: b\n2001-01-01: c\n~: d\n1.5: e",
        "k: |\n  two\n  lines\nl: >-\n  folded\n  line",
        "a: &x {b: 1, c: [1, 2]}\nd: *x\ne: [*x, *x]",
        "a: &x 5\nb: *x",
        "a: &x {p: 1, q: 2}\nb: {q: 3, <<: *x, r: 4}",
        "a: &x {p: 1, q: 2}\ny: &y {p: 5, z: 6}\nb: {<<: [*x, *y], q: 3}",
        "a: &x {p: 1}\ny: &y {<<: *x, q: 2}\nb: {<<: *y}",
        "a: {<<: {p: 1}, <<: {p: 2, q: 3}}",
        "a: {<<: {port: 1}, <<: {port: 2, q: 3}}",
        "{<<: [&x {p: 1, q: 2}, &y {q: 5, z: 6}], k: [*x, *y]}",
        "x: &x {p: 1}\ny: &y {p: 2}\na: {<<: [*x, *y]}\nb: {<<: [*y, *x], p: 3}",
        "a: {<<: {1: a}, <<: {'1': b, yes: c}}",
        "x: &x [{p: 1}, {p: 2}]\na: {<<: *x}",
        "p: &k port\na: {<<: {*k : 1}, <<: {*k : 2}}",
        "a: [<<, '<<', \"<<\"]",
        "? a\n: b",
        "%YAML 1.1\n---\na: 1\n...\n",
        '{"json": [1, 2.5, null, true, "\\u00e9"]}',
        "plain text",
    ],
)
def test_values_are_those_that_safe_loader_gives(text: str) -> None:
    try:
        wanted = reference(text)
    except (yaml.YAMLError, LookupError, ValueError):
        refusal(text)
        return
    value = parse_yaml(text, source="x").value
    assert value == wanted
    assert repr(value) == repr(wanted), "types and the order of keys too"


_KEYS = [
    "p",
    "q",
    "port",
    "user",
    "1",
    "'1'",
    "!!int '1'",
    "yes",
    "1.0",
    "é",
    "''",
    "2001-01-01",
    "! p",
    "*k ",
]


@st.composite
def _merging(draw: st.DrawFn) -> str:
    """Draws a document in which mappings merge others; each value in it is unlike all others."""
    lines, numbers = ["k: &k port"], iter(range(1000, 3000))

    def mapping(depth: int, anchors: int) -> str:
        parts = []
        for kind in draw(
            st.lists(st.sampled_from(["key", "merge", "list"]), min_size=1, max_size=4)
        ):
            sources = [f"*a{n}" for n in range(anchors)]
            if kind == "key" or not (sources or depth):
                parts.append(f"{draw(st.sampled_from(_KEYS))}: {next(numbers)}")
                continue
            count = 1 if kind == "merge" else draw(st.integers(0, 3))
            inner = depth and draw(st.booleans())
            merged = [
                (
                    mapping(depth - 1, anchors)
                    if inner or not sources
                    else draw(st.sampled_from(sources))
                )
                for _ in range(count)
            ]
            parts.append(f"<<: {merged[0] if kind == 'merge' else '[' + ', '.join(merged) + ']'}")
        return "{" + ", ".join(parts) + "}"

    lines += [f"m{n}: &a{n} {mapping(2, n)}" for n in range(draw(st.integers(1, 4)))]
    return "\n".join(lines)


@given(_merging())
def test_merge_keys_bring_what_the_installed_safe_loader_makes_of_them(text: str) -> None:
    document = parse_yaml(text, source="x", repeated=lambda *_: None)
    wanted = reference(text)
    assert repr(document.value) == repr(wanted)
    assert repr(list(document.value.values())) == repr(list(wanted.values()))
    lines = text.splitlines()
    for name, mapping in document.value.items():
        for key, value in mapping.items() if isinstance(mapping, dict) else ():
            line, column = document.at((name, key))
            assert lines[line - 1][column - 1 :].startswith(str(value)), (
                "an entry is where its value was written"
            )


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats(allow_nan=False)
        | st.text(max_size=20)
        | st.dates(),
        lambda inner: (
            st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4)
        ),
        max_leaves=12,
    ).filter(lambda value: value is not None)
)
def test_every_dumped_value_is_read_back(value: Any) -> None:
    assert parse_yaml(yaml.safe_dump(value), source="x").value == value


@given(st.text(alphabet="ab:-[]{}&*<!|>'\"#\n\t ,?%1~=", max_size=40))
@example("a: *a")
@example("? [a]\n: b")
def test_any_text_gives_safe_loaders_value_or_an_error_with_a_line(text: str) -> None:
    try:
        value = parse_yaml(text, source="x").value
    except InputError as e:
        error: InputError | None = e
    else:
        error = None
        assert value == reference(text)
    assert error is None or (error.source == "x" and error.line >= 0)


def test_every_value_and_key_knows_its_line_and_column() -> None:
    text = "all:\n  hosts:\n    web1: {port: 22}\n    web2:\n  vars:\n    list: [a,\n      b]\n"
    document = parse_yaml(text, source="x")
    assert document.at() == Position(1, 1)
    assert document.key_at(("all",)) == (1, 1)
    assert document.at(("all",)) == (2, 3)
    assert document.key_at(("all", "hosts", "web1", "port")) == (3, 12)
    assert document.at(("all", "hosts", "web1", "port")) == (3, 18)
    assert document.key_at(("all", "hosts", "web2")) == (4, 5)
    assert document.at(("all", "vars", "list", 1)) == (7, 7)
    assert document.at(("all", "vars", "none", "deeper")) == document.at(("all", "vars"))


def test_a_merged_or_aliased_value_is_where_it_was_written() -> None:
    document = parse_yaml("a: &x\n  p: 1\nb:\n  <<: *x\n  q: 2\nc: *x\n", source="x")
    assert document.at(("b", "p")) == (2, 6)
    assert document.at(("b", "q")) == (5, 6)
    assert document.at(("c", "p")) == (2, 6)
    assert document.at(("c",)) == (6, 4)


def test_bom_and_crlf_are_accepted_and_do_not_move_the_lines(tmp_path: Path) -> None:
    path = tmp_path / "dos.yml"
    path.write_bytes(b"\xef\xbb\xbfa: 1\r\nb:\r\n  c: x\r\n")
    document = load_yaml(path)
    assert document.value == {"a": 1, "b": {"c": "x"}}
    assert document.key_at(("a",)) == (1, 1)
    assert document.at(("b", "c")) == (3, 6)
    assert parse_yaml("\ufeffa: 1", source="x").value == {"a": 1}


def test_a_duplicate_key_is_refused_with_both_lines() -> None:
    error = refusal("web:\n  hosts:\ndb:\nweb:\n")
    assert (error.line, error.column) == (4, 1)
    assert "“web”" in error.message
    assert "line 1" in error.message


def test_keys_that_python_takes_for_equal_are_duplicates() -> None:
    assert refusal("1: a\nyes: b\n").line == 2


@pytest.mark.parametrize(
    "text", ["a:\n\tb: 1\n", "\ta: 1\n", "a:\n  - b\n\t- c\n", "a: [1,\n\t{]\n"]
)
def test_a_tab_is_called_a_tab(text: str) -> None:
    error = refusal(text)
    assert "a tab; YAML needs spaces" in error.message
    line = text.splitlines()[error.line - 1]
    assert line[error.column - 1] == "\t"


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("", 0, "empty"),
        ("# only a comment\n\n", 0, "empty"),
        ("---\n...\n", 0, "empty"),
        ("~", 0, "empty"),
        ("a: 1\n---\nb: 2\n", 2, "a second document"),
        ("a: 1\nb: x\0y\n", 2, "NUL"),
        ("a: \x1b[31m\n", 1, "U+001B"),
        ("a: \ud800\n", 1, "U+D800"),
        ("a: [1, 2\n", 2, "did not find"),
        ("a: b: c\n", 1, "mapping values are not allowed"),
        ("a: *nobody\n", 1, "refers to no anchor above it"),
        ("a: &a [*a]\n", 1, "inside the value that it refers to"),
        ("a:\n  - !vault |\n    $ANSIBLE_VAULT\n", 2, "!vault is not supported yet"),
        ("a: !unsafe '{{ x }}'\n", 1, "!unsafe is not supported yet"),
        ("a: !mine {b: c}\n", 1, "!mine is not supported yet"),
        ("a: !mine [b]\n", 1, "!mine is not supported yet"),
        ("a: !!python/object/apply:os.system [id]\n", 1, "must not run code"),
        ("a: !!python/name:os.system ''\n", 1, "must not run code"),
        ("a: !!set {b}\n", 1, "!!set is not supported yet"),
        ("a: =\n", 1, "“=”"),
        ("? [a, b]\n: c\n", 1, "where a key belongs"),
        ("a: {{ x }}\n", 1, "where a key belongs"),
        ("a: 1\nb: 2001-99-99\n", 2, "timestamp"),
        ("a: !!int five\n", 1, "int"),
        ("a: !!bool perhaps\n", 1, "bool"),
        ("a: !!binary é\n", 1, "binary"),
        ("a: {<<: 5}\n", 1, "merges a mapping"),
        ("a: {<<: [5]}\n", 1, "merges a mapping"),
        ("%YAML 2.0\n---\na: 1\n", 1, "incompatible"),
        ("a: &x 1\nb: &x 2\n", 2, "&x is defined twice"),
        ("a: &x {b: &x 2}\n", 1, "&x is defined twice"),
        ("a: 1\nb: !!timestamp yesterday\n", 2, "not a valid timestamp"),
        ("- " * 200_000, 1, "nested deeper"),
    ],
)
def test_a_document_that_makes_no_sense_is_refused_at_its_line(
    text: str, line: int, said: str
) -> None:
    error = refusal(text)
    assert said in error.message
    assert error.line == line
    assert str(error).startswith("hosts.yml")


@pytest.mark.parametrize("loader", [yaml.CSafeLoader, yaml.SafeLoader])
@pytest.mark.parametrize(
    ("text", "line", "column"),
    [
        ("[" * (MAX_DEPTH + 1), 1, 101),
        ("[" * 5000, 1, 101),
        ("[" * 5000 + "]" * 5000, 1, 101),
        ("{" * 5000, 1, 101),
        ("a:\n  b: {c: " + "[{" * 5000, 2, 107),
        ("[\n" * 5000, 101, 1),
        ("{a: " * 5000, 1, 401),
        ("- " * 5000, 1, 201),
        ("? " * 5000, 1, 201),
        ("".join(" " * n + "a:\n" for n in range(1500)), 101, 101),
    ],
    ids=range(10),
)
def test_a_text_that_nests_too_deeply_is_refused_the_same_by_every_parser(
    monkeypatch: pytest.MonkeyPatch, loader: type, text: str, line: int, column: int
) -> None:
    monkeypatch.setattr("fleetaudit.text.yaml_builder.LOADER", loader)
    error = refusal(text)
    assert (error.message, error.hint) == (f"nested deeper than {MAX_DEPTH}", "")
    assert (error.line, error.column) == (line, column)


def test_brackets_in_a_text_do_not_nest() -> None:
    error = refusal("a: '" + "[" * 5000 + "' b")
    assert "nested" not in error.message


def test_no_error_repeats_a_value_because_it_may_be_a_secret() -> None:
    for text in (
        "password: !!int hunter2",
        "password: 2001-99-99 # hunter2",
        "password: hunter2: x",
        "p: !vault hunter2",
    ):
        assert "hunter2" not in str(refusal(text))


def test_a_tag_of_the_caller_becomes_the_callers_value() -> None:
    document = parse_yaml(
        "a: !vault |\n  xyz\n", source="x", tags={"!vault": lambda text: ("sealed", text)}
    )
    assert document.value == {"a": ("sealed", "xyz\n")}
    assert document.at(("a",)) == (1, 4)


@pytest.mark.parametrize(
    ("data", "line", "said"),
    [
        ("a: 1\nb: é\n".encode("latin-1"), 2, "not UTF-8"),
        ("a: 1\n".encode("utf-16"), 0, "UTF-16"),
    ],
)
def test_other_encodings_are_refused_with_the_command_that_converts(
    tmp_path: Path, data: bytes, line: int, said: str
) -> None:
    path = tmp_path / "x.yml"
    path.write_bytes(data)
    with pytest.raises(InputError, match=said) as caught:
        load_yaml(path)
    assert caught.value.line == line
    assert "iconv" in caught.value.hint


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(NothingToDoError, match=r"none\.yml"):
        load_yaml(tmp_path / "none.yml")
    with pytest.raises(NothingToDoError, match="directory"):
        load_yaml(tmp_path)


class Inner(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    port: int = 22
    names: list[str] = []


class Outer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    title: str
    inner: Inner = Inner()
    each: dict[str, Inner] = {}


@pytest.mark.parametrize(
    ("text", "where", "said"),
    [
        ("- title: x\n  iner: {}\n", (2, 3), "did you mean “inner”?"),
        ("- title: x\n  inner:\n    port: 1\n    nmaes: []\n", (4, 5), "did you mean “names”?"),
        ("- inner: {}\n", (1, 3), "the key “title” is missing"),
        ("- title: 5\n", (1, 10), "a whole number where text belongs"),
        ("- title: x\n  inner: {port: web}\n", (2, 17), "text where a whole number belongs"),
        ("- title: x\n  inner: {names: [a, b, 3]}\n", (2, 25), "a whole number where text belongs"),
        (
            "- title: x\n  each:\n    a: {port: 1}\n    b: {port: x}\n",
            (4, 15),
            "text where a whole number belongs",
        ),
        (
            "- title: x\n  each:\n    a: {port: 1}\n    b: {prot: 1}\n",
            (4, 9),
            "did you mean “port”?",
        ),
        ("- title: x\n  inner:\n", (2, 9), "nothing where a mapping belongs"),
        ("title: x\n", (1, 1), "a mapping where a list belongs"),
    ],
)
def test_a_value_that_does_not_fit_its_type_is_refused_with_line_column_and_suggestion(
    text: str, where: tuple[int, int], said: str
) -> None:
    with pytest.raises(InputError) as caught:
        convert_document(parse_yaml(text, source="x"), list[Outer])
    assert said in caught.value.message
    assert (caught.value.line, caught.value.column) == where


def test_a_part_of_a_document_is_converted_with_the_lines_of_the_whole() -> None:
    document = parse_yaml("a:\n  b:\n    port: 80\n  c:\n    port: no\n", source="x")
    assert convert_document(document, Inner, ("a", "b")) == Inner(port=80)
    with pytest.raises(InputError) as caught:
        convert_document(document, Inner, ("a", "c"))
    assert caught.value.line == 5


def test_a_wrongly_indented_key_has_a_hint_about_indentation() -> None:
    with pytest.raises(InputError, match="compare the indentation of this line"):
        parse_yaml("all:\n    hosts:\n        a:\n      b:\n", source="i.yml")
