"""The conversation with the probe: what is sent, and which replies are accepted."""

from __future__ import annotations

import ast
import base64
import contextlib
import io
import json
import re
import sys
import tracemalloc
import zlib
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetaudit import __version__
from fleetaudit.errors import ReplyError
from fleetaudit.model import (
    HostPlan,
    Interpreter,
    SshTarget,
)
from fleetaudit.playbook.steps import parse_step
from fleetaudit.probe import protocol, request, verdict
from fleetaudit.probe.remote import namespace
from fleetaudit.probe.result_line import COMPRESSED
from tests.support.sent_requests import LAST_LINE, expand_request
from tests.support.split_times import split_times
from tests.unit.probe.cases import (
    DRAINED,
    FINISHED,
    RESET,
    UNREAD,
    line,
    observation,
    plan,
    reply,
    result,
    trial,
)


def test_the_command_line_is_a_constant_that_a_sudoers_line_can_hold() -> None:
    assert protocol.COMMAND.startswith("/bin/sh -c '")
    assert protocol.COMMAND.count("'") == 2
    assert "\n" not in protocol.COMMAND
    assert "!" not in protocol.COMMAND  # csh would expand it


def test_a_request_is_ascii_python_and_calls_on_its_last_line() -> None:
    sent = protocol.make_request(plan(UNREAD, DRAINED), deadline_s=20)
    assert ast.parse(sent.decode("ascii"))
    assert sent.decode("ascii").endswith(f"\n{LAST_LINE}\n")
    program = expand_request(sent)
    assert ast.parse(program)
    last = program.rstrip("\n").rsplit("\n", 1)[1]
    assert last.startswith("main({")
    assert "'unread-close'" in last


def test_the_program_that_is_printed_is_sent_compressed_with_empty_docstrings() -> None:
    asked = plan(UNREAD, DRAINED)
    program = protocol.make_program(asked, deadline_s=20.04)
    sent = protocol.make_request(asked, deadline_s=20.04)
    assert program.startswith(
        f"#\n{request.NO_STRAY_MODULES}; DEADLINE, NONCE = 20.0, ''\nPROGRAM = "
    )
    expanded = expand_request(sent)
    assert syntax(expanded) == syntax(program)
    assert len(expanded) < len(program)
    printed, travelled = program.splitlines(), expanded.splitlines()
    assert len(printed) == len(travelled)
    docstring = re.compile(r"""(PROGRAM = r'''|\s*)\"\"""")
    kept = [line for line in travelled if line and not docstring.fullmatch(line)]
    assert set(kept) <= set(printed)
    comments = [line for line in printed if line.startswith("# ")]
    assert comments == [line for line in travelled if line.startswith("# ")]
    assert len(comments) > 50
    assert max(len(line) for line in sent.splitlines()) <= 120


def syntax(program: str) -> list[str]:
    """Returns the syntax trees of a request and of the program in it, with empty docstrings."""
    outer = ast.parse(program)
    inner = next(
        each.value.value
        for each in outer.body
        if isinstance(each, ast.Assign) and isinstance(each.value, ast.Constant)
        if isinstance(each.value.value, str)
    )
    tree = ast.parse(inner)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        first = body[0] if isinstance(body, list) and body else None
        value = first.value if isinstance(first, ast.Expr) else None
        if isinstance(value, ast.Constant) and isinstance(value.value, str):
            value.value = ""
    lines = [line for line in program.splitlines() if line.startswith("main(")]
    return [ast.dump(tree), *lines]


def test_the_lines_of_a_traceback_are_those_of_the_program_that_is_printed() -> None:
    program = protocol.make_program(plan(UNREAD), deadline_s=20)
    names: dict[str, Any] = {}
    exec(program.rpartition("main({")[0], names)
    number = names["to_json"].__code__.co_firstlineno
    assert program.splitlines()[number - 1] == "def to_json(value):"
    assert names["to_json"].__code__.co_filename == "fleetaudit-probe"


def test_hosts_with_an_equal_plan_share_one_compressed_program() -> None:
    one = plan(UNREAD, DRAINED)
    sent = protocol.make_request(one, deadline_s=20)
    before = request._packed.cache_info().misses
    equal = msgspec.structs.replace(one, name="b", scenarios=(*one.scenarios,))
    assert equal.scenarios is not one.scenarios
    for other in (msgspec.structs.replace(one, name="a"), equal):
        heads = protocol.make_request(other, deadline_s=7.26).split(b"\n", 2)
        second = f"{request.NO_STRAY_MODULES}; DEADLINE, NONCE = 7.3, ''"
        assert heads[:2] == [b"#", second.encode()]
        assert heads[2] == sent.split(b"\n", 2)[2]
    assert request._packed.cache_info().misses == before


def test_plans_that_differ_never_share_a_call_even_if_objects_take_each_others_place() -> None:
    seen = {}
    for trials in range(1, 200):
        asked = plan(msgspec.structs.replace(UNREAD, name=f"scenario-{trials}"), trials=trials)
        seen[trials] = protocol.request_digest(asked)
        assert f"'scenario-{trials}'" in protocol.make_program(asked, deadline_s=9)
        del asked
    assert len(set(seen.values())) == len(seen)
    assert len(request._call_of) <= 64


def test_hosts_with_the_same_plan_and_deadline_share_one_request() -> None:
    first = plan()
    second = msgspec.structs.replace(first, name="another")
    request = protocol.make_request(first, deadline_s=55.01)
    assert request is protocol.make_request(second, deadline_s=54.99)
    assert request != protocol.make_request(second, deadline_s=54.0)


def test_each_request_has_a_nonce_of_its_own_and_shares_all_but_its_first_lines() -> None:
    first = plan()
    second = msgspec.structs.replace(first, name="another")
    one, other = (protocol.new_request(each, deadline_s=55.0) for each in (first, second))
    assert one.nonce != other.nonce
    assert re.fullmatch("[0-9a-f]{32}", one.nonce)
    assert one.body is other.body
    assert len(one.head) < 160
    without = protocol.make_request(first, deadline_s=55.0)
    assert bytes(one).replace(one.nonce.encode(), b"") == without


def test_a_reply_to_an_earlier_request_is_refused() -> None:
    asked = plan(UNREAD)
    body = reply(observation("unread-close", RESET), digest=protocol.request_digest(asked))
    for nonce, sent in (("a" * 32, "a" * 32), ("", ""), ("", "b" * 32)):
        protocol.open_reply(asked, line({**body, "nonce": sent}), nonce=nonce)
    for sent in ("", "b" * 32, "A" * 32, "a" * 31):
        with pytest.raises(ReplyError, match="answers an earlier one") as caught:
            protocol.open_reply(asked, line({**body, "nonce": sent}), nonce="a" * 32)
        assert (caught.value.stage, caught.value.kind) == ("decode", "reply to another call")
    with pytest.raises(ReplyError, match="answers an earlier one"):
        protocol.open_reply(asked, line(body), nonce="a" * 32)


def test_a_request_names_the_interpreter_to_try_first_in_a_comment() -> None:
    def of(value: str) -> HostPlan:
        named = Interpreter(value=value, origin="hosts.yml:3")
        return msgspec.structs.replace(
            plan(UNREAD), target=SshTarget(address="h", interpreter=named)
        )

    sent = protocol.make_request(plan(UNREAD), deadline_s=20)
    second = f"{request.NO_STRAY_MODULES}; DEADLINE, NONCE = 20.0, ''"
    assert sent.startswith(f"#\n{second}\n".encode())
    assert protocol.make_request(of(""), deadline_s=20) == sent
    named = protocol.make_request(of("/opt/bin/pythön -I"), deadline_s=20)
    assert named == "# /opt/bin/pythön -I\n".encode() + sent.removeprefix(b"#\n")
    assert protocol.request_digest(of("/opt/bin/python")) == protocol.request_digest(plan(UNREAD))


def test_every_program_of_the_probe_keeps_out_the_modules_of_the_current_folder() -> None:
    assert namespace.NO_STRAY_MODULES == request.NO_STRAY_MODULES
    assert namespace.BRING_LO_UP.startswith(request.NO_STRAY_MODULES + "\n")
    again = namespace.program_text({"protocol": 2}, "text")
    assert again.startswith(request.NO_STRAY_MODULES.encode() + b"\n")
    assert not {"", "."} & set(_path_after(request.NO_STRAY_MODULES))


def _path_after(line: str) -> list[str]:
    code = f"{line}; print(sys.path)"
    names: dict[str, Any] = {}
    with contextlib.redirect_stdout(io.StringIO()) as printed, pytest.MonkeyPatch.context() as m:
        m.setattr(sys, "path", ["", *sys.path])
        exec(code, names)
    return [*ast.literal_eval(printed.getvalue())]


def test_without_a_python_the_reason_has_what_the_first_one_printed() -> None:
    printed = b"python3: error while loading shared libraries: libm.so.6: failed to map segment\n"
    with pytest.raises(ReplyError) as raised:
        protocol.open_reply(plan(UNREAD), b"fleetaudit-shell/1 0 root\n", printed, 86)
    assert raised.value.reason == (
        "no Python from 2.7 on that works: “python3: error while loading shared libraries:"
        " libm.so.6: failed to map segment”"
    )
    assert (raised.value.stage, raised.value.kind) == ("execute", "no python")


def test_an_interpreter_that_does_not_work_is_a_note_and_part_of_the_reason() -> None:
    named = Interpreter(value="/opt/bin/python -I", origin="hosts.yml:3")
    asked = msgspec.structs.replace(plan(UNREAD), target=SshTarget(address="h", interpreter=named))
    answer = line(reply(observation("unread-close", RESET), interpreter="/usr/bin/python3"))
    failed = b"fleetaudit-shell/1 0 root\nfleetaudit-python/1 127\n"
    why = (
        "ansible_python_interpreter /opt/bin/python -I (hosts.yml:3) does not work: there is no"
        " such program"
    )
    host = result(asked, failed + answer)
    assert host.interpreter == "/usr/bin/python3"
    assert host.notes[-1] == f"{why}; /usr/bin/python3 was used instead"
    assert why not in " ".join(result(asked, b"fleetaudit-shell/1 0 root\n" + answer).notes)
    assert why not in " ".join(result(plan(UNREAD), failed + answer).notes)
    with pytest.raises(ReplyError) as e:
        result(asked, failed, b"", protocol.NO_PYTHON)
    assert e.value.reason == f"{why}; nor does any other Python from 2.7 on"


def test_a_program_that_is_not_python_and_takes_its_options_is_named_if_no_reply_comes() -> None:
    named = Interpreter(value="/bin/true", origin="hosts.yml:3")
    asked = msgspec.structs.replace(plan(UNREAD), target=SshTarget(address="h", interpreter=named))
    words = (
        "; ansible_python_interpreter /bin/true (hosts.yml:3) is tried first, and may be no Python"
    )
    for said, status in ((b"", 0), (b"usage", 1)):
        with pytest.raises(ReplyError) as caught:
            protocol.decode_reply(asked, said, exit_status=status)
        assert caught.value.reason.endswith(words)
    with pytest.raises(ReplyError) as caught:
        protocol.decode_reply(plan(UNREAD), b"")
    assert caught.value.reason == "no result line"


def test_an_interpreter_that_cannot_be_read_is_a_note() -> None:
    named = Interpreter(
        origin="hosts.yml:3", problem="ansible_python_interpreter in hosts.yml:3 has no end"
    )
    asked = msgspec.structs.replace(plan(UNREAD), target=SshTarget(address="h", interpreter=named))
    host = result(asked, line(reply(observation("unread-close", RESET))))
    assert host.notes[-1] == f"{named.problem}; another Python was used instead"


@pytest.mark.parametrize("call", ["main({", "exec(compile(TEXT"])
def test_a_request_that_is_cut_anywhere_never_calls_main(call: str) -> None:
    sent = protocol.make_request(plan(UNREAD), deadline_s=20).decode("ascii").rstrip("\n")
    if call == "main({":
        sent = expand_request(sent.encode()).rstrip("\n")
    end = sent.rindex(call)
    for cut in [*range(0, end, max(1, end // 50)), *range(end, len(sent))]:
        try:
            tree = ast.parse(sent[:cut])
        except SyntaxError:  # the interpreter runs nothing of it
            continue
        calls = [
            ast.unparse(n.value.func)
            for n in tree.body
            if isinstance(n, ast.Expr) and isinstance(n.value, ast.Call)
        ]
        assert call.partition("(")[0] not in calls


def test_noise_around_the_result_line_is_ignored() -> None:
    noisy = (
        b"Welcome to \xff\xfe host\r\n$ echo\n"
        + line(reply(observation("unread-close", RESET)))
        + b"logout\n"
    )
    assert result(plan(UNREAD), noisy).observations[0].ending == "RST"


@pytest.mark.parametrize(
    ("stdout", "status", "stage", "words"),
    [
        (
            line(
                reply(observation("unread-close", trial([[2**62, "closer", "R.", 1, 1, 0, 0, ""]])))
            ),
            0,
            "decode",
            "<=",
        ),
        (b"", 86, "execute", "no Python"),
        (b"", 127, "execute", "status 127"),
        (
            b"fleetaudit-shell/1 0 root\nKilled\x1b[2J\n",
            137,
            "execute",
            "it printed “Killed\ufffd[2J”",
        ),
        (b"", 0, "decode", "no result line"),
        (line(reply()) + line(reply()), 0, "decode", "2 result lines"),
        (line(reply())[:-40], 0, "decode", "not what the probe sends"),
        (protocol.REPLY_MARK + b"[" * 5000 + b"\n", 0, "decode", "Expected `object`"),
        (
            protocol.REPLY_MARK + b'"' + b"x" * (protocol.MAX_LINE + 1) + b'"\n',
            0,
            "decode",
            "bytes",
        ),
        (line({**reply(), "isolation": "none"}), 0, "decode", "isolation"),
        (line({**reply(), "observations": {}}), 0, "decode", "Expected `array`, got `object`"),
        (line({**reply(), "observations": ""}), 0, "decode", "Expected `array`, got `str`"),
        (line({**reply(), "python": "x" * 10_000}), 0, "decode", "length"),
        (line({**reply(), "protocol": 3}), 0, "decode", "protocol 3"),
        (
            protocol.REPLY_MARK + json.dumps({**reply(), "fleetaudit": "0.9"}).encode() + b"\n",
            0,
            "decode",
            "protocol 1 of fleetaudit 0.9",
        ),
        (line(reply(observation("not-asked", RESET))), 0, "decode", "not-asked"),
        (
            line(reply(observation("unread-close", RESET), observation("unread-close", RESET))),
            0,
            "decode",
            "two answers",
        ),
        (line(reply(observation("unread-close", {**RESET, "count": 99}))), 0, "decode", "trials"),
        (
            protocol.REPLY_MARK + b'{"protocol": 2, "kernel": {"release": "\xff"}}\n',
            0,
            "decode",
            "not what the probe sends",
        ),
    ],
)
def test_an_output_without_a_valid_reply_is_refused_with_a_reason(
    stdout: bytes, status: int, stage: str, words: str
) -> None:
    with pytest.raises(ReplyError) as caught:
        result(plan(UNREAD, DRAINED), stdout, b"", status)
    assert caught.value.stage == stage
    assert words in caught.value.reason


def test_the_reason_says_that_the_output_was_cut() -> None:
    with pytest.raises(ReplyError, match="more on stdout than is read"):
        result(plan(UNREAD), b"x" * 100, b"", None, "stdout")


@given(
    st.binary(max_size=400), st.sampled_from([b"", protocol.REPLY_MARK, protocol.REPLY_MARK + b"{"])
)
def test_hostile_bytes_give_a_reply_error_and_never_another_exception(
    noise: bytes, start: bytes
) -> None:
    with pytest.raises(ReplyError):
        result(plan(UNREAD), start + noise)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda c: st.lists(c) | st.dictionaries(st.text(max_size=9), c),
    )
)
def test_hostile_json_gives_a_reply_error_and_never_another_exception(body: Any) -> None:
    with pytest.raises(ReplyError):
        result(plan(UNREAD), line({**reply(), "observations": body} if body != [] else body))


SET = {"net.ipv4.tcp_rfc1337": ["/etc/sysctl.d/9-a.conf:3"], "net.x": ["/etc/sysctl.conf:1"]}


def test_places_are_kept_of_sysctls_that_were_read_only() -> None:
    body = reply(observation("unread-close", RESET), sysctl_places=SET, sysctls_writable=False)
    host = result(plan(UNREAD), line(body))
    assert host.sysctl_places == {"net.ipv4.tcp_rfc1337": ("/etc/sysctl.d/9-a.conf:3",)}
    assert not host.sysctls_writable
    of_before = result(plan(UNREAD), line(reply(observation("unread-close", RESET))))
    assert (of_before.sysctl_places, of_before.sysctls_writable) == (None, True)


@pytest.mark.parametrize(
    "place",
    [
        "/etc/cron.d/job.conf:1",
        "/etc/sysctl.d/../cron.d/a.conf:1",
        "/etc/sysctl.d/a b.conf:1",
        "/etc/sysctl.conf",
        "/etc/sysctl.conf:1\n",
        "/etc/sysctl.d/$(reboot).conf:1",
        "x/etc/sysctl.conf:1",
        "/etc/sysctl.d/a.conf:1;id",
    ],
)
def test_a_place_is_a_line_of_a_sysctl_file_because_it_becomes_part_of_a_command(
    place: str,
) -> None:
    with pytest.raises(ReplyError, match="not what the probe sends"):
        result(
            plan(UNREAD),
            line(
                reply(
                    observation("unread-close", RESET),
                    sysctl_places={"net.ipv4.tcp_rfc1337": [place]},
                )
            ),
        )


def test_a_reply_answers_its_own_call_and_no_other() -> None:
    asked = plan(UNREAD, DRAINED)
    body = reply(
        observation("unread-close", RESET),
        observation("drained-close", FINISHED),
        digest=protocol.request_digest(asked),
    )
    assert verdict.result_from_output(asked, line(body)).observations[0].ending == "RST"
    other_steps = msgspec.structs.replace(
        UNREAD, steps=(parse_step("peer sends 6 bytes"), parse_step("closer closes"))
    )
    for other in (
        plan(other_steps, DRAINED),
        plan(UNREAD, DRAINED, trials=4),
        plan(UNREAD, DRAINED, isolation="host"),
        msgspec.structs.replace(asked, sysctls_collect=("net.ipv4.tcp_fin_timeout",)),
    ):
        with pytest.raises(ReplyError, match="answers another call") as caught:
            protocol.decode_reply(other, line({**body, "fleetaudit": __version__}))
        assert caught.value.stage == "decode"
    with pytest.raises(ReplyError, match="has no digest of the call"):
        protocol.decode_reply(asked, line({**body, "digest": ""}))


def test_a_reply_to_another_version_names_it() -> None:
    body = reply(observation("unread-close", RESET), digest="0" * 32)
    with pytest.raises(ReplyError, match=f"fleetaudit 0.0.1, and this is fleetaudit {__version__}"):
        protocol.decode_reply(plan(UNREAD), line({**body, "fleetaudit": "0.0.1"}))
    with pytest.raises(ReplyError, match="an unknown version"):
        protocol.decode_reply(plan(UNREAD), line(body))


def test_hosts_with_the_same_plan_share_one_digest_whatever_their_names_and_deadlines() -> None:
    one = plan(UNREAD)
    other = msgspec.structs.replace(one, name="db-1", groups=("db",))
    assert protocol.request_digest(one) == protocol.request_digest(other)
    for deadline in (1.0, 60.0):
        sent = protocol.make_request(other, deadline_s=deadline)
        assert protocol.request_digest(one) in expand_request(sent)


def test_the_expected_endings_are_sent_and_are_not_part_of_the_digest() -> None:
    one = plan(UNREAD)
    other = plan(msgspec.structs.replace(UNREAD, expect=("FIN", "FIN, then RST")))
    assert protocol.request_digest(one) == protocol.request_digest(other)
    sent = protocol.make_request(other, deadline_s=9.0)
    assert "'expect': ['FIN', 'FIN, then RST']" in expand_request(sent)


@pytest.mark.parametrize("place", ["unknown", "observations", "sysctls", "times", "exposure"])
@pytest.mark.parametrize("opening", ["[", '{"x":', '[{"trials":[{"x":', '{"x":{"value":'])
@pytest.mark.parametrize("depth", [20, 900, 100_000])
def test_no_depth_of_arrays_and_objects_is_more_than_a_reply_error(
    place: str, opening: str, depth: int
) -> None:
    """Types bound what is decoded; what no type names is skipped, and that is bounded, too."""
    closing = {"[": "]", "{": "}"}
    end = "".join(closing[c] for c in reversed(opening) if c in closing)
    body = json.dumps({**split_times(reply(observation("unread-close", RESET))), place: "@here@"})
    deep = (opening * depth + "1" + end * depth).encode()
    stdout = protocol.REPLY_MARK + body.encode().replace(b'"@here@"', deep) + b"\n"
    if place == "unknown" and depth == 20:
        assert result(plan(UNREAD), stdout).observations[0].ending == "RST"
        return
    with suppress(ReplyError):
        accepted = result(plan(UNREAD), stdout)
        # It is under a key that is unknown there.
        assert (len(accepted.observations), depth < 100_000) == (1, True)


def test_a_reply_is_the_same_plain_and_compressed() -> None:
    stdout = line(reply(observation("unread-close", RESET)))
    assert result(plan(UNREAD), compressed(stdout)) == result(plan(UNREAD), stdout)


def compressed(stdout: bytes, more: bytes = b"", cut: int | None = None) -> bytes:
    """Returns a result line compressed, with `more` after its data, which is cut off at `cut`."""
    digest = protocol.request_digest(plan(UNREAD)).encode()
    data = stdout.removeprefix(protocol.REPLY_MARK).strip().replace(b"DIGEST", digest)
    packed = (zlib.compress(data) + more)[:cut]
    return protocol.REPLY_MARK + COMPRESSED + base64.b64encode(packed) + b"\n"


@pytest.mark.parametrize(
    ("stdout", "words"),
    [
        (compressed(b"x" * (protocol.MAX_LINE + 1)), "expands to at least"),
        (compressed(b"[" * 500 * 1024 * 1024), "expands to at least"),
        (compressed(line(reply()), more=b"x"), "does not end where its data ends"),
        (compressed(line(reply()), cut=60), "does not end where its data ends"),
        (compressed(line(reply()), cut=1), "does not end"),
        (compressed(b"no JSON"), "not what the probe sends"),
        (protocol.REPLY_MARK + COMPRESSED + b"eJyrVkr\n", "cannot be expanded"),
        (protocol.REPLY_MARK + COMPRESSED + b"####\n", "cannot be expanded"),
        (protocol.REPLY_MARK + COMPRESSED + b"\n", "does not end"),
        (protocol.REPLY_MARK + COMPRESSED + base64.b64encode(b"no zlib") + b"\n", "expanded"),
        (
            protocol.REPLY_MARK + COMPRESSED + b"A" * (protocol.MAX_LINE + 1) + b"\n",
            "more than the",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_compressed_reply_is_bounded_before_it_is_expanded(stdout: bytes, words: str) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(ReplyError, match=words) as caught:
            result(plan(UNREAD), stdout)
        assert tracemalloc.get_traced_memory()[1] < 6 * protocol.MAX_LINE
    finally:
        tracemalloc.stop()
    assert caught.value.stage == "decode"


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("at", lambda times: times[1:]),
        ("at", lambda times: [*times, 1]),
        ("windows", lambda times: times[1:]),
        ("steps", lambda times: times[1:]),
        ("steps", lambda times: [*times, 1]),
        ("began", lambda times: []),
        ("ports", lambda times: times[1:]),
        ("headers", lambda times: [[1, "eA=="]]),
        ("headers", lambda times: [[0, "eA=="]] * 2),
    ],
)
def test_a_reply_whose_shape_and_times_do_not_fit_is_refused(name: str, change: Any) -> None:
    one = {
        **RESET,
        "steps": [[1, 0], [9, 1]],
        "connection": {"began": 5.0, "ports": [1, 2], "scales": [7, 7]},
    }
    body = split_times(reply(observation("unread-close", one)))
    good = protocol.REPLY_MARK + json.dumps(body).encode() + b"\n"
    assert result(plan(UNREAD), good).observations[0].evidence.steps == ((1, 0), (9, 1))
    body["times"][name] = change(body["times"][name])
    with pytest.raises(ReplyError, match="and its times do not fit each other") as caught:
        result(plan(UNREAD), protocol.REPLY_MARK + json.dumps(body).encode() + b"\n")
    assert caught.value.stage == "decode"


@pytest.mark.parametrize(
    ("stdout", "words"),
    [
        (b"", ""),
        (b"no mark here", ""),
        (protocol.REPLY_MARK + b"\n", ""),
        (b"motd\n" + protocol.REPLY_MARK + b'{"a":1}\nmore', '; it begins “{"a":1}”'),
        (protocol.REPLY_MARK + b"x" * 200, "; it begins “" + "x" * 200 + "”"),
        (protocol.REPLY_MARK + b"x" * 201, "; it begins “" + "x" * 200 + "…”"),
        (protocol.REPLY_MARK + b"\x1b[2J\x00\xff", "; it begins “\ufffd[2J\ufffd\ufffd”"),
        (protocol.REPLY_MARK + rb"\u0070\u202e", "; it begins “p\ufffd”"),
        (protocol.REPLY_MARK + b"x" * 197 + rb"\u0070", "; it begins “" + "x" * 197 + "…”"),
        (protocol.REPLY_MARK + b"zlib:####", "; it begins “zlib:####”"),
    ],
)
def test_the_first_200_bytes_of_a_reply_are_quoted_as_one_printable_line(
    stdout: bytes, words: str
) -> None:
    assert protocol.describe_beginning(stdout) == words


def test_the_beginning_of_a_compressed_reply_is_quoted_expanded() -> None:
    packed = base64.b64encode(zlib.compress(b'{"protocol":7,"x":"' + b"y" * 10**6))
    quoted = protocol.describe_beginning(protocol.REPLY_MARK + b"zlib:" + packed)
    assert quoted == "; it begins “" + '{"protocol":7,"x":"' + "y" * 181 + "…”"
