#include "tar_stream.h"

#include <string.h>

bool tar_stream_available(struct tar_stream *stream) {
    while (stream->piece_length == 0) {
        stream->piece = stream->source.next(stream->source.context, &stream->piece_length);
        if (stream->piece == NULL) {
            stream->piece_length = 0;
            return false;
        }
    }
    return true;
}

size_t tar_stream_take(struct tar_stream *stream, void *buffer, size_t size) {
    size_t used = 0;
    while (used < size && tar_stream_available(stream)) {
        size_t n = size - used < stream->piece_length ? size - used : stream->piece_length;
        memcpy((uint8_t *)buffer + used, stream->piece, n);
        stream->piece += n;
        stream->piece_length -= n;
        used += n;
    }
    return used;
}

bool tar_stream_skip(struct tar_stream *stream, uint64_t count) {
    while (count > 0) {
        if (!tar_stream_available(stream))
            return false;
        size_t n = stream->piece_length < count ? stream->piece_length : (size_t)count;
        stream->piece += n;
        stream->piece_length -= n;
        count -= n;
    }
    return true;
}

uint64_t tar_padding(uint64_t size) {
    return (TAR_BLOCK_SIZE - size % TAR_BLOCK_SIZE) % TAR_BLOCK_SIZE;
}
