"""Makes a host's target from its variables, the command line and ansible.cfg.

Rules: `resolve_target` is the way from a host to a target. A setting that would change where, how
or as whom fleetaudit connects is followed or named in an error, never skipped. Nothing here
connects.

    options.py            what the command line says about connections
    ansible_cfg.py        Ansible's own settings: found and parsed by ansible_cfg_file.py, listed in
                          ansible_cfg_table.py
    settings_check.py     which unsupported settings would change how hosts are reached
    variables.py          a host's variables, decrypted, rendered and typed
    templates.py          Jinja2 in values: template_sandbox.py, template_filters.py and
                          template_limits.py say what of it there is and how much it may do
    target.py             a host's target: ssh_target.py, kernel_target.py
    become.py             the user that the probe runs as
    interpreter.py        the Python that runs the probe
    ssh_arguments.py      arguments for OpenSSH: which matter, and which only it can follow
    shell_words.py        arguments in variables: split, and described in errors
    ssh_keywords.py       options of ssh_config(5), by what they mean for an audit
    option_precedence.py  options of the command line that variables override
"""

from __future__ import annotations

from .ansible_cfg import AnsibleSettings, load_ansible_settings
from .options import ConnectionOptions
from .target import resolve_target

__all__ = [
    "AnsibleSettings",
    "ConnectionOptions",
    "load_ansible_settings",
    "resolve_target",
]
