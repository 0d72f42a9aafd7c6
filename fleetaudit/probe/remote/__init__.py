"""fleetaudit's probe: closes TCP connections on loopback in many ways and reports what each close put on the wire.

For whoever is asked to let this run:

- It writes no file and changes no setting of the host. It prints one line, `fleetaudit-probe/1 {json}`, and ends.
- It talks to nobody but itself, over 127.0.0.1, ::1 and AF_UNIX, in a private network namespace where it may make one
  (thrown away at the end). There, and only there, it sets sysctls: to the host's own values, and to what a step says.
- Without such a namespace it opens plain sockets on loopback, and does no more than an unprivileged program could,
  but for a packet capture, if it may make one, whose filter passes only the connections that it made itself.
- It reads: uname, os-release, a keyed hash of the machine id, the sysctls it was asked for (never a key) and which
  line of sysctl.d sets them (only of files that everybody may read), and counters from /proc/net; of other people's
  sockets it reports how many have unread data, never who they are.
- It loads no kernel module, leaves no process, and ends by an alarm whatever happens.

Rules: one file, standard library, ASCII; Python 2.7 and 3.6 onwards; no module that Debian's python3-minimal lacks
without doing without it. It is sent as text with a last line that calls `main`; it is never imported.
"""
