"""The payloads by kind, each made of seeds and of what stands around them.

A payload that ran would leave a sign: `globalThis.ran` in a page, a file `pwned` in a shell, a
formula in a spreadsheet, a title or a colour on a terminal.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import NamedTuple

RAN = "globalThis.ran=1"
FETCHED = "http://127.0.0.1:9/x"


class Payload(NamedTuple):
    """A text that attacks what reads it, and its kind."""

    kind: str
    text: str


HTML = (
    f"<script>{RAN}</script>", f"<script src={FETCHED}></script>", f"<img src=x onerror={RAN}>",
    f"<img src={FETCHED}>", f"<iframe src={FETCHED}></iframe>",
    f"<object data={FETCHED}></object>", f"<embed src={FETCHED}>",
    f"<link rel=stylesheet href={FETCHED}>", f"<base href={FETCHED}>",
    f"<meta http-equiv=refresh content='0;url={FETCHED}'>", f"<video><source onerror={RAN}>",
    f"<audio src={FETCHED} autoplay>", f"<input autofocus onfocus={RAN}>",
    f"<marquee onstart={RAN}>", f"<details open ontoggle={RAN}>", f"<body onload={RAN}>",
    f"<form action={FETCHED}><button>go", f"<a href=javascript:{RAN}>x</a>",
    f"<iframe srcdoc='<script>parent.{RAN}</script>'>", "<plaintext>", "<template><b>",
    "<noscript><b>", "<textarea>", "<select><option>", "<table><tr>", "<dialog open>x</dialog>",
    "<bdo dir=rtl>x", "</bdi></td></tr></table>", "<slot name=x>", "<portal src=x>",
    f"<x onclick={RAN} tabindex=1>x", f"<button popovertarget=x onclick={RAN}>",
)  # fmt: skip
SVG = (
    f"<svg onload={RAN}>", f"<svg><script>{RAN}</script>",
    f"<svg><animate onbegin={RAN} attributeName=x>", f"<svg><set onbegin={RAN}>",
    f"<svg><use href={FETCHED}#x>", f"<svg><image href={FETCHED}>",
    f"<svg><a xlink:href=javascript:{RAN}><text>x",
    f"<svg><foreignObject><script>{RAN}</script>", f"<svg><style>@import '{FETCHED}'</style>",
    f"<svg><title><script>{RAN}</script>", "</svg></text>",
    f"<svg><desc><img src=x onerror={RAN}>",
)  # fmt: skip
MATHML = (
    f"<math><mtext></form><form><mglyph><style></math><img src onerror={RAN}>",
    f"<math href=javascript:{RAN}>x",
    f"<math><maction actiontype=statusline xlink:href=javascript:{RAN}>x",
    f"<math><annotation-xml encoding=text/html><script>{RAN}</script>",
)  # fmt: skip
ATTRIBUTES = (
    f'" onmouseover="{RAN}', f"' autofocus onfocus='{RAN}", f'"><img src=x onerror={RAN}>',
    f"'><svg/onload={RAN}>", f"` onclick=`{RAN}", f'" style="background:url({FETCHED})',
    "\" id=\"summary", f"x onerror={RAN} ", f'"/><script>{RAN}</script>', f"javascript:{RAN}",
    f"data:text/html,<script>{RAN}</script>", f"vbscript:{RAN}", f"//127.0.0.1:9/{RAN}",
)  # fmt: skip
ENDS = (
    "</script>", "</style>", "</title>", "-->", "--!>", "]]>", "</textarea>", "</template>",
    "</noscript>", "</svg>", "</math>", "</td></tr></table>", "</html>",
    "</details></section></main>", "\u2028", "*/",
)  # fmt: skip
CSS = (
    f"*{{background:url({FETCHED})}}", "}body{display:none}", f"@import url({FETCHED});",
    "</style><style>*{color:#fff}", "expression(alert(1))", "\\3c script\\3e",
    f"url('{FETCHED}')", "position:fixed;inset:0;z-index:9",
)  # fmt: skip
SCRIPT = (
    f"</script><script>{RAN}//", f'"}};{RAN};//', f"';{RAN};'", f"\\u0022;{RAN};//",
    f"${{{RAN}}}", "<!--<script>", f"\u2029{RAN}//", "__proto__", "constructor", "toString",
    "hasOwnProperty", f"']);{RAN};//", f"</ScRiPt ><ScRiPt>{RAN}", "\\", "\\x3cscript\\x3e",
    "\\u003cscript>",
)  # fmt: skip
TEMPLATES = (
    "{{ 7*7 }}", "{% raw %}", "{# x #}", "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ config }}", "{{ lookup('pipe', 'touch pwned') }}",
    "{% for x in ().__class__.__base__.__subclasses__() %}",
    "{{ cycler.__init__.__globals__.os.popen('id').read() }}", "${7*7}", "#{7*7}", "<%= 7*7 %>",
    "%(x)s", "{0.__class__}", "%s%n%x", "{{{{", "}}", "$(touch pwned)", "{x!r:>9999}",
)  # fmt: skip
ANSI = (
    "\x1b[2J", "\x1b[1;1H", "\x1b[31m", "\x1b[38;5;196mred", "\x1b[999A", "\x1b[?1049h",
    "\x1b[?25l", "\x1b[8m", "\x1b[6n", "\x1b[c", "\x1b[5i", "\x1b[20t", "\x1b[21t",
    "\x1b[?1000h", "\x1b[?2004l", "\x1b[3J", "\x1b[r", "\x1bc", "\x1b7\x1b8", "\x1b(0",
    "\x1b#8", "\x1b>", "\x1bM", "\x1bN", "\x1b]0;owned\x07", "\x1b]2;owned\x1b\\",
    "\x1b]1;owned\x07", "\x1b]52;c;cHduZWQ=\x07",
    "\x1b]8;;http://127.0.0.1:9/\x1b\\x\x1b]8;;\x1b\\", "\x1b]4;1;red\x07", "\x1b]10;?\x07",
    "\x1b]11;#000000\x07", "\x1b]50;x\x07", "\x1b]1337;File=inline=1:AAAA\x07",
    "\x1b]9;owned\x07", "\x1b]777;notify;a;b\x07", "\x1bP$q\"p\x1b\\", "\x1bP+q544e\x1b\\",
    "\x1bPq#0~\x1b\\", "\x1b^pm\x1b\\", "\x1b_Gf=24;AAAA\x1b\\", "\x1bX sos\x1b\\", "\x9b31m",
    "\x9b2J", "\x9d0;owned\x9c", "\x90q~\x9c", "\x9e\x9f\x98", "\x07", "\x08" * 20,
    "\rroot@host:~# ", "\x0b\x0c", "\x0e", "\x0f", "\x05", "\x7f" * 9, "\x1b", "\x1b[", "\x1b]",
    "\x1b[31", "\x84\x85\x88\x8d", "\n\x1b[1mroot", "\x1b[0;31mFAIL\x1b[0m", "\x18\x1a",
    "\x1b%@", "\x1b%G", "\x1b[!p", "\x1b[4h", "\x1b[12l",
)  # fmt: skip
BIDI = (
    "\u202egpj.exe", "\u202d\u202e", "\u2066\u2067\u2068\u2069", "\u200e\u200f\u061c",
    "\u202a\u202b\u202c", "abc\u2067def\u2069", "\u2069\u2069\u2069", "\u202c" * 9,
    "\u05d0\u05d1\u05d2", "\u0627\u0644\u0633", "\u206a\u206b\u206c\u206d\u206e\u206f",
    "\u05d0 error 1 \u05d1",
)  # fmt: skip
INVISIBLE = tuple(
    f"web{chr(code)}1"
    for code in (
        0xA0, 0xAD, 0x34F, 0x61C, 0x115F, 0x1160, 0x1680, 0x17B4, 0x17B5, 0x180B, 0x180E,
        0x2000, 0x2003, 0x2009, 0x200B, 0x200C, 0x200D, 0x202F, 0x205F, 0x2060, 0x2061,
        0x2064, 0x2800, 0x3000, 0x3164, 0xFE00, 0xFE0F, 0xFEFF, 0xFFA0, 0xFFF9, 0xFFFB,
        0xE000, 0xF8FF, 0x1BCA0, 0x1D159, 0x1D173, 0xE0001, 0xE0041, 0xE0100, 0xE01EF,
        0xF0000, 0x10FFFD, 0x378, 0x85, 0x2028, 0x2029, 0xFFFE, 0xFFFF, 0x1FFFE, 0xFDD0,
    )
)  # fmt: skip
HOMOGLYPHS = (
    "w\u0435b1", "\u0430udited", "\u0455\u0435\u0433\u0475\u0435\u0433", "we\u1e05",
    "\uff57\uff45\uff42\uff11", "web\u0661", "web\u2160", "web\u217c", "\u2024\u2024\u2044etc",
    "RST\u200c", "0K", "l1I|", "rnarn", "\u2010\u2011",
)  # fmt: skip
MARKS = (
    "e" + "\u0301" * 50, "\u0338\u0338x", "Z\u0351\u036b\u0343\u036a\u0302\u0363\u031b\u0358",
    "\u0e49" * 40, "\u20dd\u20de\u20e0x", "a\u0489" * 20, "\u0301",
    "x\u0334\u0335\u0336\u0337\u0338", "\u1ab0\u1ab1" * 12, "\ua670\ua671\ua672q",
    "\u0f71\u0f72\u0f73" * 9, "=\u0338", ">\u0338<\u0338&\u0338",
)  # fmt: skip
NORMALIZED = (
    "\u212b", "\u00c5", "A\u030a", "\ufb01", "\u2126", "\u1e9b\u0323", "\uff1cscript\uff1e",
    "\ufe64script\ufe65", "\u2039script\u203a", "\uff02\uff07", "\uff0e\uff0e\uff0f",
    "\u2025\uff0f", "\u0130\u0131\u017f", "\u1d2c",
)  # fmt: skip
FORMULAS = (
    "=1+1", "+1+1", "-1+1", "@SUM(1,1)", "\t=1+1", "\r=1+1", "\n=1+1", " =1+1", "\uff1d1+1",
    "\uff0b1+1", "\uff0d1+1", "\uff20SUM(1)", "=cmd|' /C calc'!A0",
    "=DDE(\"cmd\";\"/C calc\";\"x\")", "+cmd|' /C calc'!A0", f'=HYPERLINK("{FETCHED}","x")',
    f'=IMPORTXML("{FETCHED}","//a")', f'=WEBSERVICE("{FETCHED}")', "=1+1;=2+2", '";=1+1;"',
    '",=1+1,"', '"=1+1"', ";=1+1", ",=1+1", "'=1+1", "''=1+1", "{=1+1}", "=\u200b1",
    "\u200b=1+1", "\ufeff=1+1", "\u00a0=1+1", "\u3000=1+1", "\x00=1+1", "\x1b=1+1", "=\t1",
    "=A1:A9", "=-1", "--1", "+-1", "=@1", "\uff1b=1+1", "|=1+1", "\x0b=1+1", "\x0c=1+1",
    "\x1c=1+1", "\x85=1+1", "\u2028=1+1", '"";=1', "=\"\"&1", "=TRUE()", "\u2212" + "1+1",
    "\ufe62" + "1+1", "\ufe66" + "1+1", "=1+1\t=1+1", "\\=1+1", "1+1", "1e9", "00012",
    "2026-01-01",
)  # fmt: skip
XML = (
    "\x00", "\x01\x02\x08", "\x0b", "\x0c", "\x0e\x1f", "\x7f", "\ufffe", "\uffff", "\ud800",
    "\udfff", "\udc80\udcff", "\ud83d", "a\ud800b\udc00", "<![CDATA[x]]>", "]]]]><![CDATA[>",
    "<!DOCTYPE x [<!ENTITY e SYSTEM 'f'>]>&e;", "&lt;script&gt;", "&#0;", "&#x1b;", "&#xD800;",
    "&e;", "&amp;amp;", "<?xml version='1.0'?>", "<?php x?>", "<!-- x --",
    "<a xmlns:x='y'><x:b/>", "</testcase></testsuite>", '" message="x', "\U0001fffe", "\x85",
    "&", "&#60;script&#62;", "<xi:include href='f'/>", "<?xml-stylesheet href='x'?>",
)  # fmt: skip
PROMETHEUS = (
    '"} 1\nfleetaudit_forged 1', '\\"} 1', "\\", "\\\\", "\\n", "\n# HELP x y",
    "\n# TYPE fleetaudit_hosts counter", '",forged="1', "{a=\"b\"}", "} 1e9 1234", "# EOF",
    "\nfleetaudit_hosts_selected 99", "NaN", "+Inf", "le", "__name__", '"\n',
    "{__name__=~\".+\"}", "\u0000\"", "quantile",
)  # fmt: skip
SARIF = (
    f"[click]({FETCHED})", f"![x]({FETCHED})", f"<{FETCHED}>", "{0} {x}", "\\[x](y)", "[x](1)",
    "](x)[", "**bold**", f"[x]: {FETCHED}", "`code`", "~~~", "| a | b |", "# heading",
    "- [ ] task", "file:///etc/passwd", "%SRCROOT%", "sarif:/runs/0", f"javascript:{RAN}",
    "::warning file=x::y", "::set-output name=x::y", "##vso[task.x]y", "##teamcity[x]",
    "@everyone", "{{0}}", "[", "]", "{", "}", "\\{", "\\[", "\\\\[x](y)", "<!-- x -->",
)  # fmt: skip
SHELL = (
    "; touch pwned", "| touch pwned", "&& touch pwned", "& touch pwned", "$(touch pwned)",
    "`touch pwned`", "\ntouch pwned\n", "' ; touch pwned ; '", '" ; touch pwned ; "',
    "\\'; touch pwned #", "$'\\n'touch pwned", "${IFS}touch${IFS}pwned", "> pwned", ">> pwned",
    "< /etc/passwd", "*", "?", "~root", "!!", "!touch", "#x", "-rf", "--help",
    "-oProxyCommand=touch pwned", "-e touch", "x y", "\t", "{a,b}", "$HOME", "$((1+1))",
    "<(touch pwned)", "(touch pwned)", "{ touch pwned; }", "\\", "'", '"', "''", "=x", "a=b",
    "%x", "^x^y", "[ -e x ]", "\x00; touch pwned", "@(x|y)", "!(x)", "$!", "$$",
    "\r touch pwned", "\u2028touch pwned", "\u00a0;touch pwned", "$_", "$@",
)  # fmt: skip
CRON = (
    "%", "%touch pwned", "\\%touch pwned", "\n* * * * * touch pwned", "\r* * * * * touch pwned",
    "* * * * *", "@reboot touch pwned", "MAILTO=x", "# x", "SHELL=/bin/false", "%%", "x%y%z",
    "\\\\%",
)  # fmt: skip
SYSTEMD = (
    "%h", "%%h", "%i", "%n", "%t/%u", "$HOME", "${HOME}", "$$",
    "\nExecStartPre=/bin/touch pwned", "\\\nx", "\\x20", "-/bin/false", "@/bin/sh", "+/bin/sh",
    "!/bin/sh", ":x", "[Service]", "; x", "# x", "\"x\" 'y'", "%", "\\", "\\s", "\\n", "|x",
    "=x",
)  # fmt: skip
PATHS = (
    "../../etc/passwd", "/etc/passwd", "..", ".", "../", "....//", "..\\..\\x", "%2e%2e%2f",
    "..%2f", "\x00.html", "x\x00.pcap", "~/.ssh/authorized_keys", "file:///etc/passwd", "C:\\x",
    "\\\\host\\share", "/dev/stdin", "-", "latest", "lock", "x/", "/", "//", "CON", "NUL",
    "aux.txt", "COM1", "LPT1.pcap", "PRN ", "x.", "x ", "a:b", "a?b*", "\u2215etc\u2215x",
    ".hidden", "x" * 200, "\u00e9" * 100,
)  # fmt: skip
WORDS = (
    "✗ FAIL", "NOT ready", "NOT as expected", "x: NOT as expected", "error  x",
    "warning (2)  x", "fix  x", "Findings: 9 errors", "Not audited: 9 hosts", "VOID: x",
    "Nothing changed", "3 of 3 scenarios as expected", "9 hosts: 9 ready, 0 not ready",
    "regression  x", "web1: ready in 1 ms", "audited, kernel 6.1", "\n  error  x",
    "Report: /etc/passwd", "fleetaudit: a bug", "next:  touch pwned",
    "Act: all 3 audited hosts", "All as expected: all 3 audited hosts", "First:  touch pwned",
)  # fmt: skip
SURROUNDINGS: dict[str, tuple[tuple[str, str], ...]] = {
    "html": (("", ""), ("x", "y"), ("-->", ""), ("\x00", ""), ("</bdi>", "")),
    "svg": (("", ""), ('">', ""), ("</text></svg>", "")),
    "mathml": (("", ""), ("</bdi>", "")),
    "attributes": (("", ""), ("x", ""), ("\x00", "\x00"), ("&quot;", "")),
    "ends": (
        ("", ""), ("", f"<script>{RAN}</script>"),
        ("x", f"<img src=x onerror={RAN}>"), ("]]>", "<b>"),
    ),
    "css": (("", ""), ("</style>", "")),
    "script": (("", ""), ("\u2028", ""), ("</script>", "")),
    "templates": (("", ""), ("x", "y"), ("{{", "}}")),
    "ansi": (("", ""), ("a", "b"), ("\x1b[0m", "\x1b[0m"), ("\x1b", "")),
    "bidi": (("", ""), ("a", "b"), ("\u2067", "")),
    "invisible": (("", ""), ("\u2800", "\u3164")),
    "homoglyphs": (("", ""),),
    "marks": (("", ""), ("a", "b")),
    "normalized": (("", ""), ("<", ">")),
    "formulas": (("", ""), (" ", ""), ('"', '"'), (";", ""), ("\t", "")),
    "xml": (("", ""), ("a", "b"), ("<b>", "")),
    "prometheus": (("", ""), ("x", ""), ('"', '"')),
    "sarif": (("", ""), ("x ", " y"), ("\\", "")),
    "words": (("", ""), ("x\n", "  y"), ("✗ FAIL  ", ": ")),
    "shell": (("", ""), ("x", ""), ("'", ""), ('"', "")),
    "cron": (("", ""), ("'", "")),
    "systemd": (("", ""), ('"', "")),
    "paths": (("", ""), ("/", "")),
}  # fmt: skip
SEEDS = {
    "html": HTML, "svg": SVG, "mathml": MATHML, "attributes": ATTRIBUTES, "ends": ENDS,
    "css": CSS, "script": SCRIPT, "templates": TEMPLATES, "ansi": ANSI, "bidi": BIDI,
    "invisible": INVISIBLE, "homoglyphs": HOMOGLYPHS, "marks": MARKS, "normalized": NORMALIZED,
    "formulas": FORMULAS, "xml": XML, "prometheus": PROMETHEUS, "words": WORDS, "sarif": SARIF,
    "shell": SHELL, "cron": CRON, "systemd": SYSTEMD, "paths": PATHS,
}  # fmt: skip


def payloads() -> tuple[Payload, ...]:
    """Returns every payload once: each seed of a kind in each surrounding of the kind."""
    return tuple(dict.fromkeys(_all()))


def of_kinds(*kinds: str) -> tuple[Payload, ...]:
    """Returns the payloads of some kinds."""
    return tuple(payload for payload in payloads() if payload.kind in kinds)


def _all() -> Iterator[Payload]:
    """Yields the payloads, kinds in turn, so that any part of them has every kind."""
    rows = [[*_of_kind(kind)] for kind in SEEDS]
    for column in itertools.zip_longest(*rows):
        yield from filter(None, column)


def _of_kind(kind: str) -> Iterator[Payload]:
    """Yields the payloads of one kind."""
    for before, after in SURROUNDINGS[kind]:
        for seed in SEEDS[kind]:
            yield Payload(kind, f"{before}{seed}{after}")
