"""What to do about a finding: in the application, in the kernel, on the host. Pure.

Rules: a remedy says only what is known, and each fact has its source beside it; "" if nothing is
known. The `fix` of an expectation goes before these remedies. A text of a host enters a command
only if it is made of letters, digits and blanks.
"""

from .exposure import EXPOSURE_REMEDIES
from .kernel_fixes import REREAD_FIXED
from .scenarios import scenario_remedy
from .sysctls import sysctl_remedy

__all__ = ["EXPOSURE_REMEDIES", "REREAD_FIXED", "scenario_remedy", "sysctl_remedy"]
