#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tar.h"

/* The archive as a stream of bytes, whatever the pieces in which they come. */
struct tar_stream {
    struct tar_source source;
    const uint8_t *piece; /* what is left of the current piece */
    size_t piece_length;
};

/* Whether there is at least a byte in `piece` now; false at the end. */
bool tar_stream_available(struct tar_stream *stream);

/* Copies up to `size` bytes; fewer only at the end of the source. */
size_t tar_stream_take(struct tar_stream *stream, void *buffer, size_t size);

/* False if the source ended before. */
bool tar_stream_skip(struct tar_stream *stream, uint64_t count);

/* Bytes from here to the end of a block, after `size` bytes from its start. */
uint64_t tar_padding(uint64_t size);
