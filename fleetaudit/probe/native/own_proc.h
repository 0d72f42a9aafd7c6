/* A /proc of this process's own, where that of a container is read-only. */
#ifndef FLEETAUDIT_OWN_PROC_H
#define FLEETAUDIT_OWN_PROC_H

/* Makes the sysctls of this network namespace writable if /proc/sys is mounted read-only. Where
   this process may not mount, nothing changes, and copy_settings says so. */
void make_sysctls_writable(void);

#endif
