/* Packs bytes as zlib does, without compressing them: what a program without zlib can send, and any zlib
   can read. */
#include "pack.h"

#include <string.h>

enum { MOST_STORED = 65535, ADLER_PRIME = 65521 };

/* Base64 while it is written: `pending` has the bytes that make no whole group yet. */
struct base64 {
    struct text *json;
    uint8_t pending[3];
    int count;
};

static void write_group(struct base64 *out) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    uint32_t bits = (uint32_t)out->pending[0] << 16 | (uint32_t)out->pending[1] << 8 | out->pending[2];
    char group[4] = {digits[bits >> 18], digits[bits >> 12 & 63], digits[bits >> 6 & 63],
                     digits[bits & 63]};
    for (int i = out->count + 1; i < 4; i++)
        group[i] = '=';
    text_add(out->json, group, sizeof group);
    memset(out->pending, 0, sizeof out->pending);
    out->count = 0;
}

static void write_bytes(struct base64 *out, const uint8_t *data, size_t size) {
    for (size_t i = 0; i < size; i++) {
        out->pending[out->count++] = data[i];
        if (out->count == 3)
            write_group(out);
    }
}

/* Writes a block of deflate (RFC 1951, section 3.2.4) that is not compressed. */
static void write_stored(struct base64 *out, const uint8_t *data, size_t size, bool is_last) {
    uint8_t header[5] = {is_last, (uint8_t)size, (uint8_t)(size >> 8), (uint8_t)~size,
                         (uint8_t)(~size >> 8)};
    write_bytes(out, header, sizeof header);
    write_bytes(out, data, size);
}

static uint32_t adler32(const uint8_t *data, size_t size) {
    uint32_t low = 1, high = 0;
    for (size_t i = 0; i < size; i++) {
        low = (low + data[i]) % ADLER_PRIME;
        high = (high + low) % ADLER_PRIME;
    }
    return high << 16 | low;
}

void add_packed(struct text *json, const uint8_t *data, size_t size) {
    struct base64 out = {.json = json};
    const uint8_t header[2] = {0x78, 0x01}; /* deflate with a window of 32 KiB, fastest */
    uint32_t sum = adler32(data, size);
    const uint8_t check[4] = {(uint8_t)(sum >> 24), (uint8_t)(sum >> 16), (uint8_t)(sum >> 8), (uint8_t)sum};
    text_put(json, "\"");
    write_bytes(&out, header, sizeof header);
    for (; size > MOST_STORED; data += MOST_STORED, size -= MOST_STORED)
        write_stored(&out, data, MOST_STORED, false);
    write_stored(&out, data, size, true);
    write_bytes(&out, check, sizeof check);
    if (out.count)
        write_group(&out);
    text_put(json, "\"");
}
