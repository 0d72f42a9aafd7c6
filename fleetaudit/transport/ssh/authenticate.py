"""Who logs in and with what: the keys there are, offered in order, and a reason where the host takes none of them."""

from __future__ import annotations

from ...errors import TransportError
from ...model import SshTarget
from .. import Deadline
from ..words import quoted, ssh_line
from .identities import Unusable, identities
from .login import Login, Refused
from .session import Session
from .stream import Broken


def authenticate(session: Session, target: SshTarget, user: str, deadline: Deadline) -> str:
    """Returns with what the user was let in, in a few words; raises `TransportError` (stage "authenticate")."""
    found = identities(target, deadline)
    if not found.usable and target.private_keys:
        raise _no_key(found.unusable)
    login = Login(session, user, deadline)
    hint = ssh_line(target, user, "-v")
    try:
        login.run(found.usable)
        return f"{user} by {login.offered[-1]}" if login.offered else f"{user} without a key"
    except Refused as e:
        if not found.usable:
            reason = f"there is no key to log in with as {user}: none named, none in an agent, no default key file"
            if found.unusable:
                reason, hint = f"{reason}; {_no_key(found.unusable).reason}", found.unusable[0].hint
            else:
                hint = "ssh-add -l"
        else:
            reason = str(e) or f"the host does not let {user} in"
        cause: Exception = e
    except Broken as e:
        many = e.kind in ("disconnected", "dropped") and len(login.offered) > 1
        reason = {
            "late": f"the host stalled while {user} was logging in",
            "dropped": f"the host hung up while {user} was logging in ({e.text})",
            "disconnected": f"the host hung up while {user} was logging in{quoted(e.text, ': ')}",
        }.get(e.kind, f"the login made no sense: {e.text}")
        if many:
            reason += "; name the one key that is meant (--private-key)"
            hint = ssh_line(target, user, "-o", "IdentitiesOnly=yes")
        cause = e
    story = login.story()
    raise TransportError("authenticate", reason + (f"; {story}" if story else ""), hint=hint) from cause


def _no_key(unusable: tuple[Unusable, ...]) -> TransportError:
    return TransportError("authenticate", "; ".join(u.reason for u in unusable), hint=unusable[0].hint)
