/* The bytes of the two streams: the byte at offset n is the hex digit of n modulo 16. */
#ifndef FLEETAUDIT_STREAM_H
#define FLEETAUDIT_STREAM_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { STREAM_PIECE = 65536 };

/* Returns at least STREAM_PIECE bytes of a stream from an offset on. */
const uint8_t *stream_bytes(unsigned long long offset);
/* As send(2) of up to MAX_BULK bytes of a stream. */
ssize_t send_stream(int fd, unsigned long long offset, size_t size, int flags);
/* As recv(2) of up to MAX_BULK bytes, which are dropped. */
ssize_t receive_nowhere(int fd, size_t size, int flags);

#endif
