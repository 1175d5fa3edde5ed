#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The uncompressed tar on its way from the thread that makes it (decompresses a layer, or packs a directory)
 * to two that read the same bytes: one hashes, one uses them. A chunk is used again when both are done with
 * it, so memory stays bounded and the slowest thread sets the pace. Every chunk but the last is full.
 */

enum { RING_CHUNK_SIZE = 256 * 1024, RING_CHUNKS = 16 };

enum ring_reader { RING_DIGEST, RING_CONTENT, RING_READERS };

/* More than `limit` bytes is a failure (0: no limit). */
void ring_create(uint64_t limit);

/* The writer fills room as it gets it: some bytes of room, and how many of them were filled. */
uint8_t *ring_room(size_t *size);
void ring_add(size_t length);
void ring_copy(const void *data, size_t length);
/* Nothing follows. */
void ring_end(void);

/* The next chunk, whose bytes stay until the same reader's next call; NULL at the end. */
const uint8_t *ring_next(enum ring_reader reader, size_t *length);
