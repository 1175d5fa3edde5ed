#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The uncompressed tar on its way from one thread that decompresses to two that read the same bytes: one
 * hashes, one extracts. A chunk is used again when both are done with it, so memory stays bounded and the
 * slowest thread sets the pace. Every chunk but the last is full.
 */

enum { RING_CHUNK_SIZE = 256 * 1024, RING_CHUNKS = 16 };

enum ring_reader { RING_DIGEST, RING_TAR, RING_READERS };

void ring_create(void);

/* The writer: room for one chunk, then its publication. */
uint8_t *ring_reserve(void);
void ring_publish(size_t length);
/* No more chunks. */
void ring_end(void);

/* The next chunk, whose bytes stay until the same reader's next call; NULL at the end. */
const uint8_t *ring_next(enum ring_reader reader, size_t *length);
