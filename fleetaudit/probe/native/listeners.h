/* Opens listeners on loopback and accepts from them: `remote/listeners.py`. */
#ifndef FLEETAUDIT_LISTENERS_H
#define FLEETAUDIT_LISTENERS_H

#include "failure.h"
#include "lab.h"
#include "request.h"

enum { OWN_PORT = -1 };

/* Returns a socket that listens on a free loopback port, or -1 and a failure. It shares its port by
   SO_REUSEPORT unless `port` is OWN_PORT: that of another one, or 0. */
int open_listener(enum family family, enum kind kind, int backlog, int port,
                  struct failure *failure);
/* Returns a stream socket of AF_INET or AF_INET6, or -1 and a failure. */
int new_socket(int family, enum kind kind, struct failure *failure);
bool local_address(int fd, struct address *address, struct failure *failure);
/* Connects within the adaptive timeout, as a Python socket with a timeout does. */
bool connect_in_time(int fd, const struct address *address, struct failure *failure);
/* Sends by one call within the adaptive timeout, over a socket that was connected so, or to a
   `target` that is not NULL. */
bool send_in_time(int fd, const void *data, size_t size, int flags, const struct address *target,
                  struct failure *failure);
void set_blocking(int fd, bool blocks);
/* Returns AF_INET or AF_INET6. */
int address_family(enum family family);
/* Fills in the loopback address of a family and kind, with port 0. */
void loopback_address(enum family family, enum kind kind, struct address *address);
int port_of(const struct address *address);
void set_port(struct address *address, int port);
/* Returns the accepted end of the connection from an address, or -1 and a failure; a connection of
   another program is closed. */
int accept_from(int listener, const struct address *address, struct failure *failure);
/* Returns what a packet socket needs and this process lacks. */
const char *lack_of_raw_sockets(void);

#endif
