"""Turns captured segments into what is reported of them."""

from .constants import MAX_SECONDS, MAX_TRACE, SIDES, micros, other
from .optional import binascii, zlib
from .packets import flags_of


def trace_of(packets, client, client_side, began):
    """Returns (rows, kept): the segments as they are reported, with relative numbers, cut in the middle, and the
    packet of each."""
    first = {}
    rows = []
    for p in packets:
        mine = p.source == client
        syn = p.bits & 0x02
        if syn and mine not in first:
            first[mine] = p.seq
        seq = 0 if syn else (p.seq - first.get(mine, p.seq)) & 0xFFFFFFFF
        ack = (p.ack - first.get(not mine, p.ack)) & 0xFFFFFFFF if p.bits & 0x10 else 0
        rows.append(
            (
                micros(p.at - began + 5e-7),
                client_side if mine else other(client_side),
                flags_of(p.bits),
                seq,
                ack,
                p.length,
                p.urgent,
                p.options,
                p.window,
            )
        )
    if len(rows) <= MAX_TRACE:
        return rows, packets[:]
    marked = [any(c in row[2] for c in "SFRU") for row in rows]
    room = max(0, MAX_TRACE - sum(marked))
    plain = [i for i, m in enumerate(marked) if not m]
    among = set(plain[: room // 2] + plain[len(plain) - (room - room // 2) :])
    kept = [i for i in range(len(rows)) if marked[i] or i in among]
    if len(kept) > MAX_TRACE:
        kept = kept[: MAX_TRACE // 2] + kept[-(MAX_TRACE // 2) :]
    return [rows[i] for i in kept], [packets[i] for i in kept]


def connection_of(packets, client, client_side, began):
    """Returns when the trial began and each side's port and window scale, the closer's first; None without a SYN."""
    ports, scales = {}, {}
    for p in packets:
        if p.bits & 0x02:
            side = client_side if p.source == client else other(client_side)
            ports[side], ports[other(side)] = p.source, p.target
            scales.setdefault(side, p.scale)
    if not ports:
        return None
    began = max(0.0, min(MAX_SECONDS, began))
    return {
        "began": began,
        "ports": [ports[side] for side in SIDES],
        "scales": [scales.get(side) for side in SIDES],
    }


def packed(packets):
    """Returns the IP and TCP headers of packets, one after the other, compressed and in base64; "" without zlib."""
    if not zlib:
        return ""
    data = zlib.compress(b"".join([p.headers for p in packets]), 9)
    return binascii.b2a_base64(data).decode("ascii").strip()


def deviates(trial, expect):
    """Returns whether a trial needs more than its rows: a step failed, more may come, the closer's segments are no
    ending that is expected, or the peer heard of another. It only chooses what is reported in full."""
    flags = [
        row[2] + ("F" if "DATA_FIN" in row[7] else "")
        for row in trial["wire"]
        if row[1] == "closer"
    ]
    ends = ["RST" if "R" in f else "FIN" for f in flags if "R" in f or "F" in f]
    ending = "FIN, then RST" if ends[:1] == ["FIN"] and "RST" in ends else (ends or ["nothing"])[0]
    if trial["error"] or trial["outstanding"] or (expect and ending not in expect):
        return True
    if not trial["peer"]:
        return False
    heard = " ".join(trial["peer"]["recv"] + [trial["peer"]["so_error"]])
    return ("RST" in ending) != ("ECONNRESET" in heard or "EPIPE" in heard)


def essence(wire):
    """Returns a trace without what only time decides: how data was cut into segments, which ACKs went alone, windows.

    What is left are the segments with SYN, FIN, RST, URG or an option but SACK, each with how far both sides had got.
    """
    reached, kept = {}, []
    for _, sender, flags, seq, _, length, urgent, options, _ in wire:
        reached[sender] = max(reached.get(sender, 0), seq + length)
        if options not in ("", "SACK") or any(c in flags for c in "SFRU"):
            kept.append((sender, flags.replace("P", ""), urgent, options, sorted(reached.items())))
    return kept + [sorted(reached.items())]
