"""fleetaudit's probe: closes TCP connections on loopback in many ways, and reports each ending.

For the security review of a host:

- It writes no file and changes no setting of the host. It prints one line,
  `fleetaudit-probe/1 {json}`, and ends.
- It connects only to itself, over 127.0.0.1, ::1 and AF_UNIX, in a private network namespace if it
  may make one. Only there it sets sysctls: to the host's own values, and as a step says.
- Without a namespace it opens plain sockets on loopback, as any unprivileged program may, and a
  packet capture if it may, whose filter passes only its own connections.
- It reads: uname, os-release, a keyed hash of the machine id, the sysctls of the request (never a
  key), which line of sysctl.d sets them (only of world-readable files), and counters of /proc/net.
  Of other sockets it reports how many have unread data, not whose they are.
- In private namespaces two processes share the scenarios. The kernel ends one with the other.
- It loads no kernel module, leaves no process, and an alarm ends it.
- What it does more for a call that watches, or that asks services, is in the head of that part.

Rules: standard library, and no module that Debian's python3-minimal lacks without an alternative;
ASCII; Python 2.7 and 3.6 onwards. Its modules are sent as one text whose last line calls `main`.
The text is sent compressed, as it is; `fleetaudit probe --compressed` prints what is sent.
"""
