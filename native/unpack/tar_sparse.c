#include "tar_sparse.h"

#include <stdlib.h>
#include <string.h>

#include "tar_number.h"

enum { SPARSE_RECORD = 24, SPARSE_IN_HEADER = 4, SPARSE_IN_BLOCK = 21 };

static const char too_long[] = "sparse map too long";
static const char ends_inside[] = "archive ends inside a sparse map";
static const char invalid[] = "invalid sparse map";

void tar_sparse_forget(struct tar_sparse *sparse) {
    sparse->present = false;
    sparse->count = 0;
}

void tar_sparse_free(struct tar_sparse *sparse) {
    free(sparse->segments);
}

static const char *add(struct tar_sparse *sparse, uint64_t offset, uint64_t length) {
    if (sparse->count == TAR_SEGMENT_LIMIT)
        return too_long;
    if (sparse->count == sparse->room) {
        size_t room = sparse->room == 0 ? 64 : sparse->room * 2;
        struct tar_segment *grown = realloc(sparse->segments, room * sizeof *grown);
        if (grown == NULL)
            return "no memory for the sparse map";
        sparse->segments = grown;
        sparse->room = room;
    }
    sparse->segments[sparse->count++] = (struct tar_segment){.offset = offset, .length = length};
    return NULL;
}

/* Records of the old form: pairs of 12 byte numbers, ended by an empty one. */
static const char *from_block(struct tar_sparse *sparse, const uint8_t *records, int count) {
    for (int i = 0; i < count; i++) {
        const uint8_t *record = records + (size_t)i * SPARSE_RECORD;
        if (record[0] == 0)
            return NULL;
        uint64_t offset, length;
        if (!tar_number(record, 12, &offset) || !tar_number(record + 12, 12, &length))
            return invalid;
        const char *error = add(sparse, offset, length);
        if (error != NULL)
            return error;
    }
    return NULL;
}

static const char *from_header(struct tar_sparse *sparse, struct tar_stream *stream, const uint8_t *header,
                               uint64_t *size) {
    if (!tar_header_is_gnu(header))
        return "sparse entry without GNU header";
    if (!tar_number(header + TAR_AT_REAL_SIZE, 12, size))
        return "invalid sparse size";
    const char *error = from_block(sparse, header + TAR_AT_SPARSE, SPARSE_IN_HEADER);
    bool more = header[TAR_AT_EXTENDED] != 0;
    while (error == NULL && more) {
        uint8_t block[TAR_BLOCK_SIZE];
        if (tar_stream_take(stream, block, sizeof block) != sizeof block)
            return ends_inside;
        error = from_block(sparse, block, SPARSE_IN_BLOCK);
        more = block[SPARSE_RECORD * SPARSE_IN_BLOCK] != 0;
    }
    return error;
}

static const char *from_records(struct tar_sparse *sparse, const struct tar_pax *pax) {
    if (pax->sparse_count % 2 != 0)
        return invalid;
    for (size_t i = 0; i < pax->sparse_count; i += 2) {
        const char *error = add(sparse, pax->sparse_numbers[i], pax->sparse_numbers[i + 1]);
        if (error != NULL)
            return error;
    }
    return NULL;
}

/* One decimal number and its newline. */
static const char *data_number(struct tar_stream *stream, uint64_t *stored, uint64_t *value) {
    *value = 0;
    for (int digits = 0;; digits++) {
        uint8_t byte;
        if (*stored == 0 || tar_stream_take(stream, &byte, 1) != 1)
            return ends_inside;
        --*stored;
        if (byte == '\n' && digits > 0)
            return NULL;
        if (byte < '0' || byte > '9' || digits >= 19)
            return invalid;
        *value = *value * 10 + (uint64_t)(byte - '0');
    }
}

/* The number of segments, then each one's offset and length, padded to a block. */
static const char *from_data(struct tar_sparse *sparse, struct tar_stream *stream, uint64_t *stored) {
    uint64_t before = *stored, count;
    const char *error = data_number(stream, stored, &count);
    if (error == NULL && count > TAR_SEGMENT_LIMIT)
        error = too_long;
    for (uint64_t i = 0; error == NULL && i < count; i++) {
        uint64_t offset, length;
        error = data_number(stream, stored, &offset);
        if (error == NULL)
            error = data_number(stream, stored, &length);
        if (error == NULL)
            error = add(sparse, offset, length);
    }
    if (error != NULL)
        return error;
    uint64_t padding = tar_padding(before - *stored);
    if (padding > *stored || !tar_stream_skip(stream, padding))
        return ends_inside;
    *stored -= padding;
    return NULL;
}

static const char *check(const struct tar_sparse *sparse, uint64_t stored, uint64_t size) {
    uint64_t end = 0, sum = 0;
    for (size_t i = 0; i < sparse->count; i++) {
        struct tar_segment segment = sparse->segments[i];
        if (segment.offset < end || segment.offset > size || segment.length > size - segment.offset)
            return invalid;
        end = segment.offset + segment.length;
        sum += segment.length;
    }
    return sum == stored ? NULL : "sparse map does not fit the data";
}

const char *tar_sparse_read(struct tar_sparse *sparse, struct tar_stream *stream, const uint8_t *header,
                            const struct tar_pax *pax, uint64_t *stored, uint64_t *size) {
    bool old_form = header[TAR_AT_TYPE] == 'S';
    if (!old_form && !pax->sparse)
        return NULL;
    sparse->present = true;
    *size = pax->sparse_size;
    const char *error;
    if (old_form)
        error = from_header(sparse, stream, header, size);
    else if (pax->sparse_major == 1 && pax->sparse_minor == 0)
        error = from_data(sparse, stream, stored);
    else if (pax->sparse_major == 0)
        error = from_records(sparse, pax);
    else
        error = "unknown sparse format";
    if (error == NULL && *size > INT64_MAX)
        error = "file too large";
    return error != NULL ? error : check(sparse, *stored, *size);
}
