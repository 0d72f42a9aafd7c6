/* The ports that programs listen on. */
#ifndef FLEETAUDIT_WATCH_PORTS_H
#define FLEETAUDIT_WATCH_PORTS_H

struct ports;

/* Returns NULL without memory. */
struct ports *begin_ports(void);
void end_ports(struct ports *ports);
/* Returns a port, or 0 if it is one that the kernel chose for a client. `namespace` is "" for the
   host's own network namespace, else the one that `process` is in. */
int service_port(struct ports *ports, const char *namespace, unsigned process, int port);

#endif
