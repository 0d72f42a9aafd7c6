"""Worlds that lack descriptors, memory, processes, CPU or time."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from itertools import product

from .probing import NOBODY, World, can_limit

MIB = 1 << 20


def worlds() -> Iterator[World]:
    yield from descriptors()
    yield from memory()
    yield from processes()
    yield from clocks()
    yield from time()


def descriptors() -> Iterator[World]:
    """From 17 descriptors on it has all verdicts; with fewer than 12 no Python starts."""
    for count in range(3, 41):
        least = 1.0 if count >= 17 else 0.5 * (count >= 12)
        yield World(f"{count} descriptors", limits={"NOFILE": count}, least=least)


def memory() -> Iterator[World]:
    sizes = (1, 2, 4, 6, 8, 10, 12, 14, 16, 20, 24, 32, 48, 64, 128)
    for kind, mib in product(("AS", "DATA"), sizes):
        name = f"RLIMIT_{kind} {mib} MiB"
        yield World(name, limits={kind: mib * MIB}, least=float(mib >= 48))
    for kib in (8, 64, 256):
        yield World(f"RLIMIT_STACK {kib} KiB", limits={"STACK": kib << 10}, least=0.0)
    for kind in ("FSIZE", "CORE", "MEMLOCK", "SIGPENDING", "MSGQUEUE", "NICE", "RTPRIO"):
        yield World(f"RLIMIT_{kind} 0", limits={kind: 0})
    for seconds in (1, 2):
        yield World(f"RLIMIT_CPU {seconds} s", limits={"CPU": seconds}, least=0.0)
    if can_limit("memory.max"):
        for mib in (1, 2, 4, 6, 8, 12, 16, 24, 32, 64):
            limit = {"memory.max": str(mib * MIB)}
            yield World(f"a group of {mib} MiB", groups=limit, least=float(mib >= 32))


def processes() -> Iterator[World]:
    for count in range(8):
        # The limit counts the processes of a user in the whole machine: each case has its own.
        limits, user = {"NPROC": count}, NOBODY + 1 + count
        yield World(f"RLIMIT_NPROC {count}", limits=limits, uid=user, least=float(count >= 5))
    if can_limit("pids.max"):
        for count in range(1, 8):
            limit = {"pids.max": str(count)}
            yield World(f"a group of {count} processes", groups=limit, least=float(count >= 5))


CLOCK = """
#define _GNU_SOURCE
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
#include <sys/syscall.h>
static long offset(void) {
    struct timespec t;
    syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &t);
    return (t.tv_sec * 1000 + t.tv_nsec / 1000000) / PERIOD % 2 ? STEP : 0;
}
int clock_gettime(clockid_t id, struct timespec *t) {
    int result = syscall(SYS_clock_gettime, id, t);
    if (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE) t->tv_sec += offset();
    return result;
}
int gettimeofday(struct timeval *t, void *zone) {
    struct timespec s;
    clock_gettime(CLOCK_REALTIME, &s);
    t->tv_sec = s.tv_sec; t->tv_usec = s.tv_nsec / 1000;
    return 0;
}
time_t time(time_t *to) {
    struct timespec s;
    clock_gettime(CLOCK_REALTIME, &s);
    if (to) *to = s.tv_sec;
    return s.tv_sec;
}
"""
"""A library whose clock of the day steps by STEP seconds and back, every PERIOD milliseconds."""


def clocks(name: str = "", python: str = "", least: float = 1.0) -> Iterator[World]:
    """Yields worlds whose clock is set back and forward all the time, where a compiler is there."""
    if not (compiler := shutil.which("cc")):
        return
    steps = ((30, 3600), (30, -3600), (700, 7), (700, -3600), (300, -(10**9)), (1000, 10**9))
    for period, step in steps:
        source = f"cat > /clock.c <<'END'\n{CLOCK}\nEND\n"
        build = f"{compiler} -shared -fPIC -DPERIOD={period} -DSTEP={step}L -o /clock.so /clock.c"
        yield World(
            f"{name}a clock that steps by {step} s every {period} ms",
            (source + build,),
            environment={"LD_PRELOAD": "/clock.so"},
            python=python,
            least=least,
        )


def time() -> Iterator[World]:
    yield World("a deadline of 0.1 s", deadline=0.1, least=0.0, says="time ran out")
    yield World("a deadline of 1 s", deadline=1.0, least=0.0)
    if can_limit("cpu.max"):
        for percent in (1, 2, 5, 20):
            yield World(
                f"a group with {percent} % of a CPU",
                groups={"cpu.max": f"{percent * 1000} 100000"},
                deadline=60.0,
                slow_s=40.0 / percent,
                least=0.0,
            )
    for percent in (1, 5, 30):
        yield World(
            f"stopped for {100 - percent} % of the time",
            share=percent / 100,
            deadline=60.0,
            slow_s=40.0 / percent,
            least=0.0,
        )
