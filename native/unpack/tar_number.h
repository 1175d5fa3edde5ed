#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Numbers in tar headers: octal text, blank or NUL padded, or GNU's base-256 (top bit set, big endian). */

bool tar_number(const uint8_t *field, size_t size, uint64_t *value);

/* The same where negative numbers make sense: times before 1970. */
bool tar_signed_number(const uint8_t *field, size_t size, int64_t *value);

/* A whole decimal number of `length` digits, at most INT64_MAX. */
bool tar_decimal(const char *text, size_t length, uint64_t *value);
