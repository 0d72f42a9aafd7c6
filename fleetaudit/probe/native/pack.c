/* Compresses bytes as zlib does: one block of deflate (RFC 1951) with the fixed codes.

   Headers of one connection repeat each other, and so do the trials of a reply: they become about
   as small as zlib itself makes them. */
#include "pack.h"

#include <stdbool.h>
#include <string.h>

enum { SHORTEST_MATCH = 3, LONGEST_MATCH = 258, FARTHEST_MATCH = 32768 };
enum { ADLER_PRIME = 65521, ADLER_BYTES = 5552 };
enum { BUCKETS = 4096, TRIED_MATCHES = 8 };
enum { FIXED_CODES = 1, END_OF_BLOCK = 256, FIRST_LENGTH = 257, CODE_OF_LONGEST = 285 };

/* What is being written: `bits` has those that make no whole byte yet, the lowest first, `group`
   the bytes that make no four digits of base64 yet. */
struct packed {
    struct text *text;
    uint32_t bits;
    int bit_count;
    uint8_t group[3];
    int group_count;
};

/* Bytes that occurred before; `length` 0: there are none. */
struct match {
    size_t length, distance;
};

static void write_group(struct packed *out) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const uint8_t *group = out->group;
    uint32_t bits = (uint32_t)group[0] << 16 | (uint32_t)group[1] << 8 | group[2];
    char four[4] = {digits[bits >> 18], digits[bits >> 12 & 63], digits[bits >> 6 & 63],
                    digits[bits & 63]};
    for (int i = out->group_count + 1; i < 4; i++) {
        four[i] = '=';
    }
    text_add(out->text, four, sizeof four);
    memset(out->group, 0, sizeof out->group);
    out->group_count = 0;
}

static void write_byte(struct packed *out, uint8_t byte) {
    out->group[out->group_count++] = byte;
    if (out->group_count == 3) {
        write_group(out);
    }
}

static void write_bits(struct packed *out, uint32_t value, int count) {
    out->bits |= value << out->bit_count;
    for (out->bit_count += count; out->bit_count >= 8; out->bit_count -= 8) {
        write_byte(out, (uint8_t)out->bits);
        out->bits >>= 8;
    }
}

/* Huffman codes begin with their highest bit. */
static void write_code(struct packed *out, uint32_t code, int count) {
    while (count-- > 0) {
        write_bits(out, code >> count & 1, 1);
    }
}

/* Writes a literal byte, the end of the block or the code of a length (section 3.2.6). */
static void write_symbol(struct packed *out, uint32_t symbol) {
    if (symbol < 144) {
        write_code(out, 0x30 + symbol, 8);
    } else if (symbol < 256) {
        write_code(out, 0x190 + symbol - 144, 9);
    } else if (symbol < 280) {
        write_code(out, symbol - 256, 7);
    } else {
        write_code(out, 0xC0 + symbol - 280, 8);
    }
}

/* Returns how many bits of a number follow its code, which says the `kept` highest ones. */
static int count_extra_bits(size_t number, int kept) {
    int extra = 0;
    while (number >> extra >> kept) {
        extra++;
    }
    return extra;
}

static void write_length(struct packed *out, size_t length) {
    size_t number = length - SHORTEST_MATCH;
    int extra = count_extra_bits(number, 3);
    if (length == LONGEST_MATCH) {
        write_symbol(out, CODE_OF_LONGEST);
        return;
    }
    write_symbol(out, (uint32_t)(FIRST_LENGTH + 4 * (size_t)extra + (number >> extra)));
    write_bits(out, (uint32_t)(number & (((size_t)1 << extra) - 1)), extra);
}

static void write_distance(struct packed *out, size_t distance) {
    size_t number = distance - 1;
    int extra = count_extra_bits(number, 2);
    write_code(out, (uint32_t)(2 * (size_t)extra + (number >> extra)), 5);
    write_bits(out, (uint32_t)(number & (((size_t)1 << extra) - 1)), extra);
}

static size_t common_length(const uint8_t *one, const uint8_t *another, size_t most) {
    size_t length = 0;
    while (length < most && one[length] == another[length]) {
        length++;
    }
    return length;
}

/* Where three bytes begin that were seen before: `last` has the end of a chain for each bucket,
   `before` the next of the chain for each place. Both are one more than the place, 0 for none. */
struct places {
    uint32_t last[BUCKETS];
    uint32_t before[FARTHEST_MATCH];
};

static uint32_t bucket_of(const uint8_t *data) {
    uint32_t three = (uint32_t)data[0] << 16 | (uint32_t)data[1] << 8 | data[2];
    return (three * 2654435761u) >> 20;
}

static void remember(struct places *places, const uint8_t *data, size_t at) {
    uint32_t *last = &places->last[bucket_of(data + at)];
    places->before[at % FARTHEST_MATCH] = *last;
    *last = (uint32_t)at + 1;
}

/* Returns the longest bytes at `at` among the nearest that occurred before. */
static struct match find_match(const struct places *places, const uint8_t *data, size_t size,
                               size_t at) {
    struct match best = {0, 0};
    size_t most = size - at < LONGEST_MATCH ? size - at : LONGEST_MATCH;
    uint32_t place = places->last[bucket_of(data + at)];
    for (int tried = 0; place && tried < TRIED_MATCHES; tried++) {
        size_t distance = at + 1 - place;
        if (distance > FARTHEST_MATCH) {
            break;
        }
        size_t length = common_length(data + at, data + at - distance, most);
        if (length >= SHORTEST_MATCH && length > best.length) {
            best = (struct match){length, distance};
        }
        place = places->before[(place - 1) % FARTHEST_MATCH];
    }
    return best;
}

static void write_block(struct packed *out, const uint8_t *data, size_t size) {
    static struct places places;
    memset(places.last, 0, sizeof places.last); /* where all chains begin */
    write_bits(out, 1, 1);                      /* the last block */
    write_bits(out, FIXED_CODES, 2);
    for (size_t at = 0; at < size;) {
        bool has_three = size - at >= SHORTEST_MATCH;
        struct match match = {0, 0};
        if (has_three) {
            match = find_match(&places, data, size, at);
        }
        size_t next = at + (match.length ? match.length : 1);
        if (match.length) {
            write_length(out, match.length);
            write_distance(out, match.distance);
        } else {
            write_symbol(out, data[at]);
        }
        for (; at < next; at++) {
            if (size - at >= SHORTEST_MATCH) {
                remember(&places, data, at);
            }
        }
    }
    write_symbol(out, END_OF_BLOCK);
    if (out->bit_count) {
        write_bits(out, 0, 8 - out->bit_count);
    }
}

/* Returns the checksum of RFC 1950, 8.2. The sums of so many bytes fit into 32 bits. */
static uint32_t adler32(const uint8_t *data, size_t size) {
    uint32_t low = 1, high = 0;
    for (size_t at = 0; at < size;) {
        size_t end = size - at < ADLER_BYTES ? size : at + ADLER_BYTES;
        for (; at < end; at++) {
            low += data[at];
            high += low;
        }
        low %= ADLER_PRIME;
        high %= ADLER_PRIME;
    }
    return high << 16 | low;
}

void add_packed(struct text *text, const uint8_t *data, size_t size) {
    struct packed out = {.text = text};
    uint32_t sum = adler32(data, size);
    write_byte(&out, 0x78); /* deflate with a window of 32 KiB */
    write_byte(&out, 0x01); /* no dictionary; with the byte before a multiple of 31 */
    write_block(&out, data, size);
    for (int shift = 24; shift >= 0; shift -= 8) {
        write_byte(&out, (uint8_t)(sum >> shift));
    }
    if (out.group_count) {
        write_group(&out);
    }
}

void add_base64(struct text *text, const uint8_t *data, size_t size) {
    struct packed out = {.text = text};
    for (size_t i = 0; i < size; i++) {
        write_byte(&out, data[i]);
    }
    if (out.group_count) {
        write_group(&out);
    }
}
