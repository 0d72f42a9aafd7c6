/* Sends the bytes of a stream, and drops what is received, without room for all of it. */
#define _GNU_SOURCE
#include "stream.h"

#include <stdbool.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "constants.h"

enum { DIGITS = 16, MAX_PIECES = MAX_BULK / STREAM_PIECE };

const uint8_t *stream_bytes(unsigned long long offset) {
    static uint8_t pattern[STREAM_PIECE + DIGITS];
    if (!pattern[0]) {
        for (size_t i = 0; i < sizeof pattern; i++) {
            pattern[i] = (uint8_t)"0123456789abcdef"[i % DIGITS];
        }
    }
    return pattern + offset % DIGITS;
}

/* Makes one message of `size` bytes of which every piece is at `data`. */
static struct msghdr message_of(struct iovec pieces[MAX_PIECES], const void *data, size_t size) {
    size_t count = 0, rest = size < MAX_BULK ? size : MAX_BULK;
    do {
        size_t length = rest < STREAM_PIECE ? rest : STREAM_PIECE;
        pieces[count++] = (struct iovec){.iov_base = (void *)data, .iov_len = length};
        rest -= length;
    } while (rest > 0);
    return (struct msghdr){.msg_iov = pieces, .msg_iovlen = count};
}

ssize_t send_stream(int fd, unsigned long long offset, size_t size, int flags) {
    struct iovec pieces[MAX_PIECES];
    struct msghdr message = message_of(pieces, stream_bytes(offset), size);
    return sendmsg(fd, &message, flags);
}

ssize_t receive_nowhere(int fd, size_t size, int flags) {
    static uint8_t dropped[STREAM_PIECE];
    struct iovec pieces[MAX_PIECES];
    struct msghdr message = message_of(pieces, dropped, size);
    if (size == 0) {
        return 0; /* as Python, which does not ask the kernel then */
    }
    return recvmsg(fd, &message, flags);
}
