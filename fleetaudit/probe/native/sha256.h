/* SHA-256 of a short text (FIPS 180-4). */
#ifndef FLEETAUDIT_SHA256_H
#define FLEETAUDIT_SHA256_H

#include <stddef.h>

/* The longest text: with its padding it is two blocks. */
enum { MAX_HASHED = 119, SHA256_DIGITS = 64 };

/* Writes the digest of a text in hexadecimal digits. */
void sha256(const char *text, char into[SHA256_DIGITS + 1]);

#endif
