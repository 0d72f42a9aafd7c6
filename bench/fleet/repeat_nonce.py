"""Prints a recorded reply with the nonce of another request, as its host would have sent it.

    python3 -I -S repeat_nonce.py REPLY LINE

LINE is the second line of the request, which has the nonce: DEADLINE, NONCE = 57.3, '5f0c…'.
A program of its own, because the host's side is a shell: it costs the host 20 ms, and the client,
whose CPU is counted, nothing.
"""

import re
import sys
import zlib
from base64 import b64decode, b64encode
from pathlib import Path

OF_REQUEST = re.compile(r"NONCE = [0-9.]+, '([0-9a-f]+)'")
OF_REPLY = re.compile(rb'("nonce":\s*")[0-9a-f]*(")')


def nonce_of(text: str) -> str:
    """Returns the nonce in the beginning of a request, "" for one of an old fleetaudit."""
    found = OF_REQUEST.search(text)
    return found[1] if found else ""


def with_nonce(reply: bytes, nonce: str) -> bytes:
    """Returns a reply with a nonce; one that is not compressed (of an old probe) stays as it is."""
    before, mark, packed = reply.partition(b"zlib:")
    if not mark:
        return reply
    line = OF_REPLY.sub(rb"\g<1>" + nonce.encode() + rb"\2", zlib.decompress(b64decode(packed)), 1)
    return before + mark + b64encode(zlib.compress(line)) + b"\n"


if __name__ == "__main__":
    sys.stdout.buffer.write(with_nonce(Path(sys.argv[1]).read_bytes(), nonce_of(sys.argv[2])))
