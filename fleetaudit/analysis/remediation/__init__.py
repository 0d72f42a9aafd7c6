"""Remedies of a finding: in the application, in the kernel, on the host. Pure.

One remedy is one text; outputs show it after "fix:". Rules: a remedy says only what is known, and
each fact has its source next to it; it is "" if nothing is known. The `fix` of an expectation goes
before these remedies. A text of a host enters a command only if it is made of letters, digits and
blanks.
"""

from .exposure import CLOSE_REMEDY, EXPOSURE_REMEDIES
from .kernel_fixes import REREAD_FIXED
from .scenarios import scenario_remedy
from .sysctls import sysctl_remedy
from .watch import RESET_MEANINGS, RESET_REMEDIES, WATCH_REMEDIES

__all__ = [
    "CLOSE_REMEDY",
    "EXPOSURE_REMEDIES",
    "REREAD_FIXED",
    "RESET_MEANINGS",
    "RESET_REMEDIES",
    "WATCH_REMEDIES",
    "scenario_remedy",
    "sysctl_remedy",
]
