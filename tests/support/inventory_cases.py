"""Inventories of every construct and of every rule's conflict, which fleetaudit must read as
Ansible does.

A case is a mapping of files; its sources are those whose path has "@" before it, in that order. A
file that begins with "#!" is executable. Texts are flush left, because INI and YAML mean their
blanks.
"""

# ruff: noqa: E501 — a case is a line

from __future__ import annotations

Files = dict[str, str]


def _ini(text: str) -> Files:
    return {"@hosts": text}


def _yaml(text: str) -> Files:
    return {"@hosts.yml": text}


def _program(text: str) -> Files:
    return {"@hosts.sh": f"#!/bin/sh\n{text}"}


def _with(files: Files, **vars_files: str) -> Files:
    return files | {path.replace("__", "/"): text for path, text in vars_files.items()}


INI = {
    "hosts_without_a_section": "a\nb\nc\n",
    "one_group": "[web]\nweb1\nweb2\n",
    "a_host_in_two_groups": "[web]\na x=1\n[db]\na y=2\n",
    "a_later_line_of_a_host_wins": "[web]\na x=1 y=1\n[db]\na x=2\n",
    "comments": (
        "# one\n; two\na # three\n  ; four\n[web] # five\nb x=1 # six\nc x=a#b\n[web:vars]\n#"
        " seven\nk=v # stays\n"
    ),
    "blank_lines_and_blanks": "\n  \n   a   x=1  \n\n[web]\n\tb\ty=2\n",
    "crlf": "[web]\r\na x=1\r\n[web:vars]\r\nk = v\r\n",
    "no_newline_at_the_end": "[web]\na",
    "variables_of_a_group": "[web]\na\n[web:vars]\nk=v\nempty=\nblank = \n",
    "variables_before_the_group": "[web:vars]\nk=v\n[web]\na\n",
    "children": "[web]\na\n[db]\nb\n[prod:children]\nweb\ndb\n",
    "children_before_their_sections": "[prod:children]\nweb\ndb # c\n[db]\nb\n[web]\na\n",
    "children_of_children": (
        "[world:children]\neurope\n[europe:children]\nde\nfr\n[de]\nd\n[fr]\nf\n"
    ),
    "a_diamond": (
        "[top:children]\nl\nr\n[l:children]\nbot\n[r:children]\nbot\n[bot]\nh\n[l:vars]\nv=l\n[r:vars]\nv=r\n"
    ),
    "a_child_is_awaited_by_two": "[p:children]\nc\n[q:children]\nc\n[c]\nh\n",
    "vars_then_children_then_hosts": "[web:vars]\nk=1\n[all:children]\nweb\n[web]\na\n",
    "a_child_that_only_has_children": "[a:children]\nb\n[b:children]\nc\n[c]\nh\n",
    "variables_of_all": "a\n[all:vars]\nk=v\n[web]\nb\n[web:vars]\nk=w\n",
    "hosts_in_all": "[all]\na\nb\n[web]\nb\n",
    "hosts_in_ungrouped": "[ungrouped]\na\nb\n[web]\nb\n",
    "ungrouped_is_a_child_of_all": "[all:children]\nweb\nungrouped\n[web]\nw\n[ungrouped]\nu\n",
    "an_empty_group": "[web]\n[db]\na\n",
    "a_section_that_comes_again": "[web]\na\n[db]\nb\n[web]\nc\n",
    "ranges": "[web]\nweb[1:3]\nweb[01:10:3].example.com\ndb-[a:c] x=1\nr[0:1]s[8:9]\n",
    "a_range_from_nothing": "h[:2]\n",
    "letters_from_small_to_big": "h[y:B]\n",
    "ports": "a:2222\nb:22 ansible_port=23\n[web]\nc[1:2]:2201\n192.0.2.1:2222\n",
    "ipv6": "::1\n2001:db8::2\n[2001:db8::3]:2222\nfe80::1%eth0\n[v6]\n2001:db8::[1:2]\n",
    "a_bracketed_name": "[host]:22\n",
    "a_quoted_host": '"a" x=1\n',
    "values_of_many_kinds": (
        "a i=1 n=-5 f=1.5 e=1e3 t=True u=False none=None s=text z=0022 h=0x1f o=0o17 b=0b11"
        " us=1_000\n"
    ),
    "values_that_are_no_literals": (
        "a t=true y=yes n=no nu=null d=2001-01-01 v=1.2.3 ip=192.0.2.1 c=12:30 pct=5% m=1+1\n"
    ),
    "values_that_end_oddly": "a f=123456. l=1, x=.5 y=5. z=-0 w=+3\n",
    "lists_and_mappings": "a l=[1,2] t=1,2 p='(1, 2)' d=\"{'k': [1, {'x': None}]}\" e=[] m={}\n",
    "a_set_of_numbers": "a s='{3, 1, 2}'\n",
    "bytes_and_the_rest": "a b=\"b'xx'\" c=1+2j d=...\n",
    "strings_with_quotes": (
        "a s=\"'quoted'\" d='\"double\"' m='it\\'s' e='' b=\"a b\" t=\"'1'\" q=a'b'c\n".replace(
            "it\\'s", "its"
        )
    ),
    "an_escape": 'a s=a\\ b d="a\\"b" n=\'a\\nb\' l="\'a\\\\nb\'"\n',
    "equals_in_values": (
        "a opts=-oA=b k==x u='a=b c=d'\n[all:vars]\nargs=-o ProxyCommand=none -o X=y\n"
    ),
    "values_below_vars": (
        "a\n[all:vars]\ni = 1\nf = 1.\nt = True\nl = 1,2\nd = {'a': 1}\ns = 'quoted'\nw = two"
        " words\nh = #5\n"
    ),
    "values_below_vars_with_comments": (
        "a\n[all:vars]\ni = 1 # one\ns = text # more\nq = 'x' # y\nl = [1] ; 2\n"
    ),
    "text_that_looks_like_yaml": (
        'a\n[all:vars]\nx = yes\ny = ~\nz = null\nj = {"a": true}\nk = {"a": 1}\n'
    ),
    "big_numbers": f"a big={'9' * 40} f=1e999 small=1e-400\n",
    "non_ascii": "münchen ort=Köln\n[größe]\nä\n[größe:vars]\nwert=ß\n",
    "templates_stay": "a x='{{ y }}' y=1\n[all:vars]\nz={{ x }}-{% if y %}1{% endif %}\n",
    "odd_group_names": "[web-1]\na\n[web.example]\nb\n[1st]\nc\n[a/b]\nd\n[x@y]\ne\n",
    "a_colon_in_a_value": "a url=http://x:80/ t=12:30\n",
    "group_priority": "[a]\nh\n[b]\nh\n[a:vars]\nv=a\nansible_group_priority=10\n[b:vars]\nv=b\n",
    "group_priority_loses_to_depth": (
        "[p:children]\nc\n[c]\nh\n[p:vars]\nv=p\nansible_group_priority=99\n[c:vars]\nv=c\n"
    ),
    "a_priority_is_a_host_variable_too": "[a]\nh ansible_group_priority=5\n",
    "internal_names_are_not_shown": (
        "a inventory_hostname=x group_names=y ansible_version=1 ansible_facts=2 ok=3\n"
    ),
    "localhost": "localhost ansible_connection=local\n127.0.0.1\n",
    "brackets_in_values": "a x=[web] y='[1' z=]\n",
    "a_name_with_underscores": "web_1\n_dmy\n",
    "a_long_line": "a " + " ".join(f"v{n}={n}" for n in range(200)) + "\n",
    "a_comment_right_after_a_value": "a x=1#2 y=3\n",
    "vars_with_colons": "a\n[all:vars]\na:b = 1\n",
    "a_quoted_key_below_vars": "a\n[all:vars]\n'k' = 1\n",
}

YAML = {
    "flat": "all: {hosts: {a: , b: {x: 1}}}\n",
    "null_and_string_bodies": "web: {hosts: a, children: db, vars: }\ndb:\nx: {hosts: }\n",
    "nesting": (
        "all: {children: {p: {children: {q: {hosts: {a: }, vars: {v: q}}}, vars: {v: p}}}, vars:"
        " {v: all}}\n"
    ),
    "a_diamond": (
        "t: {children: {l: {children: {b: }}, r: {children: {b: }}}}\nb: {hosts: {h: }}\nl: {vars:"
        " {v: l}}\nr: {vars: {v: r}}\n"
    ),
    "yaml11": (
        "all: {vars: {o: 0022, s: 12:30, y: yes, n: off, f: 1., e: 1e3, d: 2001-01-01, dt:"
        " 2001-01-01 10:00:00}, hosts: {a: }}\n"
    ),
    "numbers": (
        "all: {vars: {h: 0x1F, b: 0b11, u: 1_000, i: .inf, neg: -.inf, fl: 6.8523015e+5, z: 0, o8:"
        " 08, o7: 0o7}, hosts: {a: }}\n"
    ),
    "anchors_and_merges": (
        "x: {vars: &v {a: 1, m: {k: 1}}, hosts: {h: }}\ny: {vars: {<<: *v, a: 2}, hosts: {i: *v}}\n"
    ),
    "a_list_of_merges": (
        "x: {vars: {p: &p {a: 1, b: 1}, q: &q {a: 2, c: 2}, r: {<<: [*p, *q], c: 3}}, hosts: {h:"
        " }}\n"
    ),
    "a_bom": "\ufeffall: {hosts: {a: {x: ü}}}\n",
    "crlf": "all:\r\n  hosts:\r\n    a:\r\n      x: 1\r\n",
    "block_texts": (
        "all:\n  hosts:\n    a:\n      l: |\n        one\n        two\n      f: >-\n        one\n  "
        "      two\n      q: \"a\\tb\"\n      s: 'it''s'\n"
    ),
    "mappings_replace": (
        "all: {vars: {m: {a: 1, b: 1}}, hosts: {h: }}\ng: {vars: {m: {b: 2}}, hosts: {h: , i: {m:"
        " {c: 3}}}}\n"
    ),
    "a_host_twice_merges_nothing": (
        "g: {hosts: {h: {m: {a: 1}}}}\nk: {hosts: {h: {m: {b: 2}, x: 1}}}\n"
    ),
    "priority": (
        "a: {vars: {v: a, ansible_group_priority: 2}, hosts: {h: }}\nb: {vars: {v: b}, hosts: {h:"
        " }}\n"
    ),
    "priority_as_text": (
        "a: {vars: {v: a, ansible_group_priority: '2'}, hosts: {h: }}\nb: {vars: {v: b}, hosts: {h:"
        " }}\n"
    ),
    "names_break_ties": "zz: {vars: {v: zz}, hosts: {h: }}\naa: {vars: {v: aa}, hosts: {h: }}\n",
    "depth_grows_later": (
        "a: {hosts: {h: }, vars: {v: a}}\nb: {hosts: {h: }, vars: {v: b}}\nz: {children: {y:"
        " {children: {a: }}}}\n"
    ),
    "ranges_and_ports": "web: {hosts: {'web[01:03]:2222': {x: 1}, 'db[a:b]': }}\n",
    "ungrouped": (
        "all: {hosts: {a: }}\nungrouped: {hosts: {b: }, vars: {u: 1}}\nweb: {hosts: {a: }}\n"
    ),
    "ungrouped_first_in_all": "all: {children: {web: {hosts: {w: }}, ungrouped: {hosts: {u: }}}}\n",
    "unsafe": "all: {vars: {a: !unsafe '{{ x }}', b: !unsafe 5, c: !unsafe 'yes'}, hosts: {h: }}\n",
    "vaulted": "all: {vars: {p: !vault '$ANSIBLE_VAULT;1.1;AES256\n\n3132'}, hosts: {h: }}\n",
    "vaulted_block": (
        "all:\n  vars:\n    p: !vault |\n      $ANSIBLE_VAULT;1.2;AES256;dev\n      313233\n     "
        " 3435\n  hosts: {h: }\n"
    ),
    "keys_that_are_no_text": "all: {vars: {m: {2: a, yes: b, 1.5: c, ~: d}}, hosts: {h: }}\n",
    "comments_and_documents": "---\n# c\nall: # d\n  hosts: {a: } # e\n",
    "lists": "all: {vars: {l: [1, [2, {a: b}], null, 'x'], e: [], m: {}}, hosts: {h: }}\n",
    "old_spellings": (
        "all: {vars: {ansible_ssh_user: a, ansible_ssh_port: 22}, hosts: {h: {ansible_user: b}}}\n"
    ),
    "templates_stay": "all: {vars: {a: '{{ b }}', b: 1}, hosts: {h: }}\n",
    "tagged_text": (
        "all: {vars: {a: !!str 1, b: !!int '5', c: !!float 3, d: !!null x, e: !!bool 'yes'}, hosts:"
        " {h: }}\n"
    ),
    "an_ini_in_a_yml": "[web]\na x=1\n",
    "names_that_need_quotes": "all: {hosts: {'10': , 'yes': , '::1': }}\n",
    "empty_names_of_values": "all: {vars: {e: '', s: ' '}, hosts: {h: {e2: ''}}}\n",
    "unicode": "größe: {hosts: {münchen: {ort: Köln, emoji: 😀}}}\n",
    "null_variables": "all: {vars: {n: ~, m: }, hosts: {h: {o: null}}}\n",
    "group_vars_key_order": (
        "b: {vars: {z: 1, a: 2}, children: {c: }, hosts: {h: }}\nc: {hosts: {i: }}\n"
    ),
    "a_child_under_two_parents_with_a_body_each": (
        "p: {children: {c: {hosts: {a: }, vars: {x: 1}}}}\nq: {children: {c: {hosts: {b: }, vars:"
        " {x: 2}}}}\n"
    ),
}

VARS_FILES: dict[str, Files] = {
    "group_vars_all_beats_inline_of_a_group": _with(
        _ini("[web]\na\n[web:vars]\nv=inline\n"), group_vars__all="v: file\n"
    ),
    "group_vars_of_a_group_beat_those_of_all": _with(
        _ini("[web]\na\n"),
        **{"group_vars__all.yml": "v: all\nw: all\n", "group_vars__web.yaml": "v: web\n"},
    ),
    "inline_of_the_host_beats_group_vars": _with(
        _ini("[web]\na v=host\nb\n"), group_vars__web="v: file\n"
    ),
    "host_vars_beat_everything": _with(
        _ini("[web]\na v=host w=host\n"), **{"host_vars__a.yml": "v: file\n"}
    ),
    "host_vars_of_a_name_with_dots": _with(
        _ini("a.example.com\nb\n"), **{"host_vars__a.example.com.yml": "v: 1\n"}
    ),
    "host_vars_of_a_name_with_dots_and_no_suffix": _with(
        _ini("a.example.com\n"), **{"host_vars__a.example.com": "v: 1\n"}
    ),
    "group_vars_of_parents": _with(
        _ini("[p:children]\nc\n[c]\nh\n"), group_vars__p="v: p\nw: p\n", group_vars__c="v: c\n"
    ),
    "a_folder_of_group_vars": _with(
        _ini("[web]\na\n"),
        **{
            "group_vars__web__10.yml": "v: 1\nm: {a: 1}\n",
            "group_vars__web__20.yml": "v: 2\nm: {b: 2}\n",
            "group_vars__web__.hidden.yml": "v: 3\n",
            "group_vars__web__x.yml~": "v: 4\n",
            "group_vars__web__x.txt": "v: 5\n",
            "group_vars__web__sub__deep.yml": "d: 1\n",
            "group_vars__web__sub.d__not.yml": "e: 1\n",
        },
    ),
    "json_files": _with(
        _ini("[web]\na\n"),
        **{
            "group_vars__web.json": '{"v": 1e3, "w": "\\u00fc\\/"}',
            "host_vars__a.json": '{"x": null}',
        },
    ),
    "json_in_a_yml": _with(_ini("[web]\na\n"), **{"group_vars__web.yml": '{"v": 1e3}'}),
    "a_key_that_is_there_twice": _with(
        _ini("[web]\na\n"),
        **{
            "group_vars__all": "k: true\nother: 1\nk: false\n",
            "group_vars__web.json": '{"j": 1, "m": {"a": 1, "a": 2}, "j": [3]}',
            "host_vars__a.yml": "m: {b: 1, c: 2, b: {d: 3, d: 4}}\nl: [{x: 1, x: 2}]\n",
        },
    ),
    "empty_files": _with(
        _ini("[web]\na\n"),
        **{"group_vars__web.yml": "", "group_vars__all.yml": "---\n", "host_vars__a": "# c\n"},
    ),
    "files_of_nobody": _with(
        _ini("[web]\na\n"),
        **{
            "group_vars__other.yml": "v: 1\n",
            "host_vars__web": "v: 1\n",
            "group_vars__web.txt": "v: 1\n",
        },
    ),
    "a_priority_in_group_vars_does_nothing": _with(
        _ini("[a]\nh\n[b]\nh\n"),
        group_vars__a="v: a\nansible_group_priority: 50\n",
        group_vars__b="v: b\n",
    ),
    "an_inline_priority_orders_group_vars": _with(
        _ini("[a]\nh\n[b]\nh\n[a:vars]\nansible_group_priority=50\n"),
        group_vars__a="v: a\n",
        group_vars__b="v: b\n",
    ),
    "mappings_in_group_vars_replace": _with(
        _yaml("web: {hosts: {a: }, vars: {m: {x: 1, y: 1}}}\n"), group_vars__web="m: {y: 2}\n"
    ),
    "ungrouped_group_vars": _with(_ini("a\n[web]\nb\n"), group_vars__ungrouped="u: 1\n"),
    "vars_with_unsafe_and_vault": _with(
        _ini("[web]\na\n"),
        group_vars__web="u: !unsafe '{{ x }}'\np: !vault '$ANSIBLE_VAULT;1.1;AES256\n\n3132'\n",
    ),
    "two_folders": {
        "@one/hosts": "[web]\na v=1\n[all:vars]\nx=1\n",
        "@two/hosts.yml": "web: {hosts: {b: , a: {v: 2}}, vars: {x: 2}}\n",
        "one/group_vars/web": "g: one\nh: one\n",
        "two/group_vars/all": "g: two-all\nh: two-all\n",
        "two/host_vars/b": "k: two\n",
    },
    "a_later_folder_wins_whatever_the_group": {
        "@one/hosts": "[p:children]\nc\n[c]\nh\n",
        "@two/hosts": "[c]\nh\n",
        "one/group_vars/c": "v: one-c\n",
        "two/group_vars/p": "v: two-p\n",
    },
    "host_vars_of_two_folders": {
        "@one/hosts": "a v=1\n",
        "@two/hosts": "a v=2\n",
        "one/host_vars/a": "v: one\nw: one\n",
        "two/host_vars/a": "v: two\n",
    },
    "the_same_folder_twice": {
        "@one/a.ini": "a\n",
        "@two/b.ini": "a\n",
        "@one/c.ini": "a\n",
        "one/group_vars/all": "v: one\n",
        "two/group_vars/all": "v: two\n",
    },
    "a_folder": {
        "@inv/": "",
        "inv/10-web": "[web]\na v=1\n",
        "inv/20-db.yml": "db: {hosts: {b: , a: {v: 2}}}\n",
        "inv/notes.txt": "not an inventory: [",
        "inv/.hidden": "[x",
        "inv/old.bak": "[x",
        "inv/x.md": "[x",
        "inv/y~": "[x",
        "inv/a.cfg": "[x",
        "inv/a.orig": "[x",
        "inv/a.retry": "[x",
        "inv/group_vars/web.yml": "g: 1\n",
        "inv/host_vars/b.yml": "h: 1\n",
    },
    "a_folder_in_a_folder": {
        "@inv/": "",
        "inv/sub/hosts": "[web]\na\n",
        "inv/hosts": "[all:vars]\nk=v\n[db]\nb\n",
        "inv/sub/group_vars/web": "not: read\n",
        "inv/group_vars/web": "is: read\n",
    },
    "a_folder_whose_files_refer_to_one_another": {
        "@inv/": "",
        "inv/01": "[web]\na\n",
        "inv/02": "[prod:children]\nweb\n[web:vars]\nk=v\n",
    },
    "a_folder_is_read_in_the_order_of_bytes": {
        "@inv/": "",
        "inv/b": "[web]\nh v=b\n",
        "inv/B": "[web]\nh v=B\n",
        "inv/_": "[web]\nh v=_\n",
        "inv/10": "[web]\nh v=10\n",
        "inv/9": "[web]\nh v=9\n",
    },
}

SEVERAL: dict[str, Files] = {
    "ini_and_yaml": {
        "@a.ini": "[web]\na x=1\n",
        "@b.yml": "web: {hosts: {b: }, vars: {k: v}}\ndb: {hosts: {a: {x: 2}}}\n",
    },
    "a_list_and_a_file": {"@a,b1,c:2222,": "", "@hosts": "[web]\nb1\n[all:vars]\nk=v\n"},
    "a_file_and_a_list": {"@hosts": "[web]\nb1 x=1\n", "@b1,b2,": ""},
    "only_a_list": {"@a,b": ""},
    "a_list_of_addresses": {"@192.0.2.1,2001:db8::1,[2001:db8::2]:2222,": ""},
    "a_list_with_blanks": {"@ a , b ,": ""},
    "children_across_files": {"@a": "[p:children]\nc\n[c]\n", "@b": "[c]\nh\n[p:vars]\nv=1\n"},
    "a_list_with_group_vars_beside_a_file": {
        "@x,": "",
        "@hosts": "[web]\na\n",
        "group_vars/all": "k: v\n",
    },
}

PROGRAMS: dict[str, Files] = {
    "with_meta": _program(
        """echo '{"_meta": {"hostvars": {"a": {"x": 1, "s": {"k": [1.5, true, null]}}, "b": {}}},
        "web": {"hosts": ["a", "b"], "vars": {"g": "{{ x }}"}}, "prod": {"children": ["web", "late"]}, "late": ["c"]}'"""
    ),
    "without_meta": _program(
        """case $1 in --list) echo '{"web": {"hosts": ["a", "b"]}, "db": ["a"]}';;
        --host) test "$2" = a && echo '{"x": 1}' || echo;; esac"""
    ),
    "hosts_in_all_and_ungrouped": _program(
        """echo '{"_meta": {"hostvars": {}}, "all": {"hosts": ["a", "b"], "vars": {"k": "v"}, "children": ["web"]},
        "ungrouped": {"hosts": ["u"]}, "web": {"hosts": ["b"]}}'"""
    ),
    "unsafe_and_vault": _program(
        """printf %s '{"_meta": {"hostvars": {"a": {"u": {"__ansible_unsafe": "{{ x }}"},
        "v": {"__ansible_vault": "$ANSIBLE_VAULT;1.1;AES256\\n3132"}}}}, "web": {"hosts": ["a"]}}'"""
    ),
    "names_are_literal": _program(
        """echo '{"_meta": {"hostvars": {}}, "web": {"hosts": ["a[1:2]", "b:22", "::1"]}}'"""
    ),
    "with_group_vars_beside": (
        _program(
            """echo '{"_meta": {"hostvars": {"a": {"v": "meta"}}}, "web": {"hosts": ["a"], "vars": {"v": "g"}}}'"""
        )
        | {"group_vars/web": "v: file\nw: file\n", "host_vars/a": "h: 1\n"}
    ),
    "a_priority": _program(
        """echo '{"_meta": {"hostvars": {}}, "b": {"hosts": ["h"], "vars": {"v": "b"}},
        "a": {"hosts": ["h"], "vars": {"v": "a", "ansible_group_priority": 5}}}'"""
    ),
}

JSON = {
    "a_tree": (
        '{"all": {"hosts": {"a": {"x": 1e3, "y": "\\u00e9\\/", "z": 1E2}, "b": null}, "children":'
        ' {"web": {"hosts": {"c": {}}}}}}'
    ),
    "many_lines": (
        '{\n  "web": {\n    "hosts": {\n      "a": {"l": [1, -2, 3.5, "x", true, false, null]}\n   '
        " }\n  }\n}\n"
    ),
    "text_that_yaml_would_read_otherwise": (
        '{"web": {"hosts": {"a": {"x": "yes", "y": "12:30", "z": "~", "\\u0061b": 1}}}}'
    ),
    "strange_blanks": '\n\t{"web":\t{"hosts"\n:{"a":{"x":[ ]}}}}\t\n',
    "unsafe_and_vault": (
        '{"web": {"hosts": {"a": {"u": {"__ansible_unsafe": "{{ x }}"}, "v": {"__ansible_vault":'
        ' "3132"}}}}}'
    ),
    "surrogate_pairs": '{"web": {"hosts": {"a": {"x": "\\ud83d\\ude00"}}}}',
}

SHARED: dict[str, Files] = {
    "ini: localhost_in_localhost": _ini(
        "[localhost]\nlocalhost ansible_connection=local\n[web]\nweb1 x=1\n"
    ),
    "ini: a_host_of_another_group": _ini(
        "[seed]\nseed-vm\n[seed-vm:children]\nextra\n[extra]\n[openvpn]\nvpn1\n[servers]\nopenvpn"
        " x=1\nweb1\n"
    ),
    "ini: the_host_is_first": _ini(
        "[servers]\nvpn x=1\n[vpn]\nvpn1\n[more]\nvpn y=2\n[vpn:vars]\nz=3\nx=3\n"
    ),
    "ini: a_host_that_is_in_no_group": _ini("web x=1\n[web]\na\n[web:vars]\nk=v\n"),
    "ini: a_host_of_all": _ini("[all]\nweb x=1\nb\n[web]\na\n[ungrouped:vars]\nu=1\n"),
    "ini: nested": _ini(
        "[top:children]\nmid\n[mid:children]\nlow\n[low]\ntop a=1\nmid b=2\nlow c=3\n"
        "[top:vars]\nv=top\n[low:vars]\nv=low\n"
    ),
    "ini: ports_and_priorities": _ini(
        "[a]\nb:2222 ansible_group_priority=5 v=1\n[b]\nh v=h\nb\n[c]\nh\n[c:vars]\nv=c\n"
    ),
    "yaml: localhost_in_localhost": _yaml(
        "localhost: {hosts: {localhost: {ansible_connection: local}}, vars: {k: v}}\n"
    ),
    "yaml: a_host_of_all": _yaml(
        "all: {hosts: {web: {x: 1}, b: }, children: {web: {hosts: {a: {y: 2}}, vars: {x: 3}}}}\n"
        "ungrouped: {vars: {u: 1, x: 4}}\n"
    ),
    "yaml: the_host_is_first": _yaml(
        "p: {hosts: {web: {x: 1}}}\nweb: {hosts: {a: }, vars: {y: 2}}\nq: {hosts: {web: {y: 3}}}\n"
    ),
    "yaml: mappings": _yaml("web: {hosts: {web: {m: {a: 1}}, c: }, vars: {m: {b: 1}}}\n"),
    "yaml: nested": _yaml(
        "a: {children: {b: {children: {c: {hosts: {a: {v: 1}, b: {v: 2}, d: }}}, vars: {v: b}}},"
        " vars: {v: a}}\n"
    ),
    "json: a_tree": {
        "@hosts.json": (
            '{"web": {"hosts": {"web": {"x": 1}, "b": null}, "vars": {"x": 2}}, "z": {"hosts":'
            ' {"web": {"y": 1}}}}'
        )
    },
    "program: with_meta": _program(
        """echo '{"_meta": {"hostvars": {"web": {"x": 1}, "a": {"x": 2}}},
        "web": {"hosts": ["a"], "vars": {"x": 3}}, "db": ["web"]}'"""
    ),
    "program: without_meta": _program(
        """case $1 in --list) echo '{"web": {"hosts": ["web", "b"]}}';; --host) echo '{"x": "'$2'"}';; esac"""
    ),
    "several: a_list_and_a_file": {"@web,b": "", "@hosts": "[web]\na\nweb x=1\n"},
    "several: a_file_each": {
        "@a.ini": "[p]\nweb x=1\n",
        "@b.yml": "web: {hosts: {c: }}\nq: {hosts: {web: {x: 2}}}\n",
    },
    "vars files: variables_of_both": _with(
        _ini("[web]\nweb x=0\na\n[db]\nweb y=0\n"),
        group_vars__web="x: group\ng: 1\n",
        host_vars__web="x: host\nh: 1\n",
    ),
    "vars files: variables_of_both_apart": _with(
        _yaml("web: {hosts: {a: }}\ndb: {hosts: {web: {y: 0}}}\n"),
        **{
            "group_vars__web.yml": "y: group\n",
            "host_vars__web.yml": "z: host\n",
            "group_vars__db": "d: 1\n",
        },
    ),
}
"""Names that are a host's and a group's."""

RESERVED: dict[str, Files] = {
    "yaml: hosts_beside_all": _yaml(
        "all: {hosts: {log1: {x: 1}}}\nhosts: {hosts: {log1: }}\ngrafana_all: {hosts: {log1: }}\n"
    ),
    "yaml: hosts_with_children": _yaml(
        "hosts: {children: {group01: {hosts: {h1: }}, group02: {hosts: {h2: }}}}\n"
    ),
    "yaml: below_all": _yaml(
        "all: {children: {hosts: {hosts: {l1: }}, vars: {hosts: {l2: }}, children: {hosts: {l3:"
        " }}}}\n"
    ),
    "yaml: all_three_at_the_top": _yaml(
        "hosts: {hosts: {a: }, vars: {x: 1}}\nvars: {children: {hosts: }, vars: {y: 2}}\nchildren:"
        " {hosts: b}\n"
    ),
    "yaml: an_empty_one": _yaml(
        "hosts:\nvars: {}\nchildren: {hosts: , vars: }\nweb: {hosts: {a: }}\n"
    ),
    "json: a_tree": {
        "@hosts.json": (
            '{"hosts": {"hosts": {"a": null}, "vars": {"x": 1}}, "vars": {"children": {"hosts":'
            " {}}}}"
        )
    },
    "ini: sections": _ini(
        "[hosts]\na\n[vars]\nb\n[children:children]\nhosts\nvars\n[vars:vars]\nx=1\n"
    ),
    "program: groups": _program(
        """echo '{"_meta": {"hostvars": {}}, "hosts": {"hosts": ["a"]}, "children": ["b"]}'"""
    ),
}
"""Groups whose name is that of a section of a group."""

CASES: dict[str, Files] = {
    **{f"shared {name}": files for name, files in SHARED.items()},
    **{f"reserved {name}": files for name, files in RESERVED.items()},
    **{f"ini: {name}": _ini(text) for name, text in INI.items()},
    **{f"yaml: {name}": _yaml(text) for name, text in YAML.items()},
    **{f"json: {name}": {"@hosts.json": text} for name, text in JSON.items()},
    **{f"vars files: {name}": files for name, files in VARS_FILES.items()},
    **{f"several: {name}": files for name, files in SEVERAL.items()},
    **{f"program: {name}": files for name, files in PROGRAMS.items()},
}
"""Every inventory of the corpus, by name."""

REFUSED: dict[str, Files] = {
    "a key of a group that Ansible passes over": _yaml("web: {hosts: {a: }, hotss: {b: }}\n"),
    "a group that is text, whose hosts Ansible drops": _yaml("web: a\ndb: {hosts: {b: }}\n"),
    "“hosts” at the top, with hosts in it that Ansible drops": _yaml(
        "hosts: {a: , b: {ansible_host: c}}\nx: {hosts: {d: }}\n"
    ),
    "“children” at the top, with groups in it that Ansible drops": _yaml(
        "children: {web: {hosts: {a: }}}\nx: {hosts: {d: }}\n"
    ),
    "“vars” at the top, with variables in it that Ansible drops": _yaml(
        "vars: {ansible_user: a}\nx: {hosts: {d: }}\n"
    ),
    "hosts as a list, which Ansible drops": _yaml("web: {hosts: [a]}\ndb: {hosts: {b: }}\n"),
    "a duplicate key, of which Ansible drops the first": _yaml(
        "web: {hosts: {a: }}\nweb: {hosts: {b: }}\n"
    ),
    "a group written as a host": _yaml("all: {hosts: {web: {hosts: {a: }}}}\n"),
    "a host with the name of a built-in group": _yaml("web: {hosts: {all: , a: }}\n"),
    "lines that fold into one name": _yaml("web:\n  hosts:\n    a\n    b\n"),
    "a second document": _yaml("web: {hosts: {a: }}\n---\ndb: {hosts: {b: }}\n"),
    "a port that comes too late": _ini("[web]\na\n[db]\na:2222\n"),
    "a range that ends before it begins": _ini("[web]\nweb[5:1]\n[db]\nb\n"),
    "a range of more than 100,000 names": _ini("h[1:200000]\n"),
    "“ungrouped” in another group": _ini("[ungrouped]\nu\n[p:children]\nungrouped\n[p]\na\n"),
    "a loop of groups": _ini("[a:children]\nb\n[b:children]\na\n[a]\nh\n"),
    "a variable set twice in a line": _ini("a x=1 x=2\n"),
    "a variables file that another one hides": _with(
        _ini("[web]\na\n"),
        **{"group_vars__web.yml": "v: 1\n", "group_vars__web__more.yml": "v: 2\n"},
    ),
    "no host at all": _ini("[web]\n"),
    "an empty source": _yaml("# nothing\n"),
    "TOML": {"@hosts.toml": "[web.hosts.a]\n"},
    "the configuration of a plugin": _yaml("plugin: ansible.builtin.constructed\nstrict: false\n"),
    "a tag that runs code": _yaml("web: {hosts: {a: {x: !!python/object/apply:os.getpid []}}}\n"),
    "an encrypted file without its password": _yaml("$ANSIBLE_VAULT;1.1;AES256\n3132\n"),
    "a listing without the variables of its hosts": {"@hosts.json": '{"web": ["a"]}'},
    "a character in a name that one cannot see": _yaml('web: {hosts: {"a\\u202eb": }}\n'),
    "a number of thousands of digits": _yaml(f"web: {{hosts: {{a: {{x: 0x{'f' * 5000}}}}}}}\n"),
    "groups nested deeper than 100": _ini(
        "".join(f"[g{n}:children]\ng{n + 1}\n" for n in range(120)) + "[g120]\nh\n"
    ),
}
"""Inventories that are refused on purpose, by the reason."""
