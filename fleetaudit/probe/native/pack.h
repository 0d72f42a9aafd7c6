/* Compresses bytes as zlib does (RFC 1950), in base64 (RFC 4648): `pack` of `remote/times.py`. */
#ifndef FLEETAUDIT_PACK_H
#define FLEETAUDIT_PACK_H

#include <stddef.h>
#include <stdint.h>

#include "text.h"

/* Adds the packed bytes, without quotes; at most 4 GiB. */
void add_packed(struct text *text, const uint8_t *data, size_t size);
/* Adds bytes in base64 as they are. */
void add_base64(struct text *text, const uint8_t *data, size_t size);

#endif
