"""The machine that QEMU emulates for each architecture. Data, no I/O.

Rules: every architecture of the native probe has one machine with two consoles: the kernel's log
goes to the first and the probe's reply to the second, so that neither can damage the other. Machine
and processor are pinned, because a kernel behaves by what it finds. All were chosen by measurement:
see docs/kernels.md.
"""

from __future__ import annotations

import msgspec

LOG, OUTPUT = "log", "output"
"""The names of the character devices that the two consoles write into."""

_TWO_PORTS = ("-serial", f"chardev:{LOG}", "-serial", f"chardev:{OUTPUT}")
_PORT_AND_PCI_CARD = ("-serial", f"chardev:{LOG}", "-device", f"pci-serial,chardev={OUTPUT}")
_EVERY_KERNEL = (
    "quiet panic=-1 rcupdate.rcu_expedited=1 cryptomgr.notests"
    " initcall_blacklist=jent_mod_init,trace_eval_init,ftrace_check_for_weak_functions"
)
"""panic=-1: restart, at which QEMU ends. rcu_expedited: closing a packet socket waits for a grace
period, and the probe closes hundreds. notests, jent_mod_init: the kernel tests its cryptography and
a source of random numbers at boot, which takes a quarter of it. trace_eval_init, ftrace_check_*: it
prepares names of tracing that nobody reads, which takes a tenth. None of them changes a segment.
"""


class MachineType(msgspec.Struct, frozen=True, kw_only=True):
    """The machine for one architecture.

    `program` is the QEMU, `install` how to get it. `machine` and `processor` are its options;
    `consoles` are those of the two consoles. `console` is the first as kernels name it, `port` the
    second one's name in /sys/class/tty. `append` are words for the kernel's command line, `own`
    those that only the native probe may have. `newest_processor` is for kernels that are built for
    newer ones, "" where there are none. `log_on_terminal` is the first
    console of -nographic, "" for `console`.
    """

    architecture: str
    program: str
    install: str
    machine: str
    processor: str
    consoles: tuple[str, ...]
    console: str
    port: str
    append: str = ""
    own: str = ""
    newest_processor: str = ""
    log_on_terminal: str = ""

    @property
    def hand_console(self) -> str:
        """The console of a guest that is started by hand with -nographic."""
        return self.log_on_terminal or self.console

    @property
    def command_line(self) -> str:
        """The words for the kernel's command line."""
        return " ".join(filter(None, (f"console={self.console}", _EVERY_KERNEL, self.append)))


_DEBIAN = "apt install {}   (dnf install {} on Fedora)"

X86_64 = MachineType(
    architecture="x86_64",
    program="qemu-system-x86_64",
    install=_DEBIAN.format("qemu-system-x86", "qemu-system-x86"),
    machine="pc",
    processor="Nehalem,-cx16",
    consoles=_TWO_PORTS,
    console="ttyS0",
    port="ttyS1",
    append="no_timer_check mitigations=off",
    own="acpi=off reboot=k nokaslr noapictimer rodata=off",
    newest_processor="max",
)
"""no_timer_check: a late emulated timer panics a boot on a busy machine. mitigations=off: nothing
in the guest is a secret, and emulated they cost a third of the time. acpi=off: the tables take a
tenth of the boot to read; without them a restart needs the keyboard controller, reboot=k. nokaslr:
to move the kernel takes time. noapictimer: a kernel measures that timer in a loop of PAUSE, at each
of which QEMU leaves the emulated code; in kernels that are not for clouds that takes a third of the
boot, and the PIT does as well. rodata=off: a kernel whose memory is not write-protected takes up to
a tenth less. Nehalem: it has no XSAVE and no SMAP, which are slow to emulate.
-cx16: QEMU 7.2 emulates cmpxchg16b wrongly now and then; the allocator of 6.12.95 panicked in four
of four boots with max, in three of six with Nehalem, in none of nine without the instruction.
"""

MACHINES: dict[str, MachineType] = {
    each.architecture: each
    for each in (
        X86_64,
        MachineType(
            architecture="aarch64",
            program="qemu-system-aarch64",
            install=_DEBIAN.format("qemu-system-arm", "qemu-system-aarch64"),
            machine="virt",
            processor="cortex-a57",
            consoles=_PORT_AND_PCI_CARD,
            console="ttyAMA0",
            port="ttyS0",
            append="mitigations=off nokaslr",
        ),
        # highmem=off: kernels without LPAE cannot reach the PCI bus otherwise.
        MachineType(
            architecture="armv7",
            program="qemu-system-arm",
            install=_DEBIAN.format("qemu-system-arm", "qemu-system-arm"),
            machine="virt,highmem=off",
            processor="cortex-a15",
            consoles=_PORT_AND_PCI_CARD,
            console="ttyAMA0",
            port="ttyS0",
        ),
        MachineType(
            architecture="riscv64",
            program="qemu-system-riscv64",
            install=(
                "apt install qemu-system-misc opensbi (qemu-system-riscv from Debian 13 on)"
                "   (dnf install qemu-system-riscv on Fedora)"
            ),
            machine="virt",
            processor="rv64",
            consoles=_PORT_AND_PCI_CARD,
            console="ttyS0",
            port="ttyS1",
        ),
        # x-vof: the firmware of QEMU itself, which takes no time; cap-*: what TCG cannot emulate.
        MachineType(
            architecture="ppc64le",
            program="qemu-system-ppc64",
            install=_DEBIAN.format("qemu-system-ppc", "qemu-system-ppc"),
            machine="pseries,x-vof=on,cap-cfpc=broken,cap-sbbc=broken,cap-ibs=broken,"
            "cap-ccf-assist=off",
            processor="power9",
            consoles=(
                *("-device", f"spapr-vty,chardev={LOG}"),
                *("-device", f"spapr-vty,chardev={OUTPUT}"),
            ),
            console="hvc0",
            port="hvc1",
            append="mitigations=off",
        ),
        # Without vx: the emulated vector facility gave wrong checksums of packets now and then.
        MachineType(
            architecture="s390x",
            program="qemu-system-s390x",
            install=(
                "apt install qemu-system-misc (qemu-system-s390x from Debian 13 on)"
                "   (dnf install qemu-system-s390x on Fedora)"
            ),
            machine="s390-ccw-virtio",
            processor="qemu,vx=off,vxeh=off",
            consoles=(
                *("-device", f"sclplmconsole,chardev={LOG}"),
                *("-device", f"sclpconsole,chardev={OUTPUT}"),
            ),
            console="ttyS0",
            port="ttysclp0",
            log_on_terminal="ttyS1",
        ),
    )
}
"""The machines by architecture."""
