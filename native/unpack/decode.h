#pragma once

#include <stdint.h>

/*
 * Descriptor 0 (a pipe or a file) → uncompressed bytes in the ring. What the bytes are is told by their first
 * four, as every runtime does: gzip, zstd, or a plain tar. Everything up to the end of the stream is read.
 */

/* Reads, decompresses and hands on until the end. */
void decode_run(void);

/* Bytes read from descriptor 0 so far. */
uint64_t decode_consumed(void);
