"""Options of ssh_config(5), in lower case, by what they mean for an audit. Pure.

Both the arguments for ssh in inventories (ssh_arguments.py) and the files that ssh reads
(transport/ssh_config.py) are judged by these tables.
"""

from __future__ import annotations

LOGIN_METHODS = {
    "publickey": "pubkeyauthentication",
    "keyboard-interactive": "kbdinteractiveauthentication",
    "password": "passwordauthentication",
}
"""The login methods of the built-in client (RFC 4252, RFC 4256), and the option that allows each.

The order is that of preference, where PreferredAuthentications does not set another one.
"""

TUNING = frozenset(
    """
    addkeystoagent batchmode compression connectionattempts controlmaster controlpath
    controlpersist escapechar forwardagent forwardx11 forwardx11trusted hashknownhosts ipqos
    loglevel rekeylimit requesttty tcpkeepalive updatehostkeys visualhostkey
    """.split()  # noqa: SIM905 — a list of words
)
"""What only tunes a connection, keeps it open, or concerns terminals."""

WITHOUT_EFFECT = frozenset(
    """
    channeltimeout clearallforwardings dynamicforward enableescapecommandline exitonforwardfailure
    fingerprinthash forwardx11timeout gatewayports ignoreunknown localcommand localforward
    logverbose nohostauthenticationforlocalhost permitlocalcommand permitremoteopen remotecommand
    remoteforward sendenv serveralivecountmax streamlocalbindmask streamlocalbindunlink
    syslogfacility tag tunnel tunneldevice xauthlocation
    """.split()  # noqa: SIM905 — a list of words
)
"""What has no effect on one command: forwards, tunnels and terminals are never requested."""

FOLLOWED = frozenset(
    """
    addressfamily bindaddress canonicaldomains canonicalizefallbacklocal canonicalizehostname
    canonicalizemaxdots canonicalizepermittedcnames casignaturealgorithms certificatefile
    challengeresponseauthentication checkhostip ciphers connecttimeout globalknownhostsfile
    hostkeyalgorithms hostkeyalias hostname
    identitiesonly identityagent identityfile kbdinteractiveauthentication kexalgorithms macs
    numberofpasswordprompts passwordauthentication port proxycommand proxyjump
    pubkeyauthentication revokedhostkeys serveraliveinterval stricthostkeychecking user
    userknownhostsfile
    """.split()  # noqa: SIM905 — a list of words
)
"""What the built-in client follows, by the answer of `ssh -G`."""

OTHER_LOGINS = frozenset(
    """
    enablesshkeysign gssapiauthentication gssapiclientidentity gssapidelegatecredentials
    gssapikexalgorithms gssapikeyexchange gssapirenewalforcesrekey gssapiserveridentity
    gssapitrustdns hostbasedacceptedalgorithms hostbasedauthentication kbdinteractivedevices
    obscurekeystroketiming
    """.split()  # noqa: SIM905 — a list of words
)
"""Logins by GSSAPI and by hosts, which the built-in client does not have, and their options."""

OTHER_USES = frozenset({"sessiontype", "stdinnull", "forkafterauthentication"})
"""With these ssh does something else than run one command and read its input."""

OPENSSH_ONLY = frozenset(
    """
    gssapiauthentication gssapidelegatecredentials gssapikeyexchange gssapitrustdns
    hostbasedauthentication knownhostscommand pkcs11provider proxyusefdpass verifyhostkeydns
    """.split()  # noqa: SIM905 — a list of words
)
"""What only OpenSSH can do, unless the value is no or none."""

KNOWN_HOSTS_FILES = frozenset({"userknownhostsfile", "globalknownhostsfile"})
"""The options that name files of known hosts."""

TRUSTED_KEYS = KNOWN_HOSTS_FILES | {"revokedhostkeys", "casignaturealgorithms"}
"""The options that decide which host keys are trusted."""
