/* Finds the lines of sysctl.d(5) that set a sysctl at boot: `remote/sysctl_files.py`. */
#ifndef FLEETAUDIT_SYSCTL_FILES_H
#define FLEETAUDIT_SYSCTL_FILES_H

#include "sysctls.h"

/* Adds as JSON the places ("FILE:LINE") that set a sysctl at boot, by key; "null" if not all files
   can be read. There are two if `sysctl --system` of procps and systemd-sysctl follow different
   lines, that of procps first: it reads /etc/sysctl.conf last, and systemd-sysctl only by a
   link. */
void add_sysctl_places(struct text *json, const struct sysctls *sysctls);

#endif
