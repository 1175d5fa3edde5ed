#include "tar.h"

#include <stdlib.h>
#include <string.h>

#include "tar_header.h"
#include "tar_number.h"
#include "tar_pax.h"
#include "tar_sparse.h"
#include "tar_stream.h"

struct tar_reader {
    struct tar_stream stream;

    uint64_t data_left; /* stored bytes of the entry that were not read */
    uint64_t padding;   /* zero bytes after them up to the block's end */
    uint64_t position;  /* in the file, of the next data */
    struct tar_sparse sparse;
    size_t segment_index;

    struct tar_pax pax;
    struct tar_names names;
    char *long_path, *long_link; /* GNU L and K, for the next entry */

    const char *error;
    const char *error_path;
};

struct tar_reader *tar_open(struct tar_source source) {
    struct tar_reader *reader = calloc(1, sizeof *reader);
    if (reader != NULL)
        reader->stream.source = source;
    return reader;
}

void tar_close(struct tar_reader *reader) {
    tar_pax_free(&reader->pax);
    tar_sparse_free(&reader->sparse);
    free(reader->long_path);
    free(reader->long_link);
    free(reader);
}

const char *tar_error(const struct tar_reader *reader) {
    return reader->error;
}

const char *tar_error_path(const struct tar_reader *reader) {
    return reader->error_path;
}

static int fail(struct tar_reader *reader, const char *message) {
    reader->error = message;
    return -1;
}

void tar_drain(struct tar_reader *reader) {
    while (tar_stream_available(&reader->stream))
        reader->stream.piece_length = 0;
}

/* ---- headers ---- */

/* The body of a PAX header or a long name: `size` bytes and their padding, NUL-terminated. */
static char *take_body(struct tar_reader *reader, uint64_t size) {
    if (size > TAR_HEADER_LIMIT) {
        (void)fail(reader, "extended header too long");
        return NULL;
    }
    char *body = malloc((size_t)size + 1);
    if (body == NULL) {
        (void)fail(reader, "no memory for an extended header");
        return NULL;
    }
    if (tar_stream_take(&reader->stream, body, (size_t)size) != size ||
        !tar_stream_skip(&reader->stream, tar_padding(size))) {
        free(body);
        (void)fail(reader, "archive ends inside an extended header");
        return NULL;
    }
    body[size] = '\0';
    return body;
}

static int take_long_name(struct tar_reader *reader, uint64_t size, char **name) {
    char *body = take_body(reader, size);
    if (body == NULL)
        return -1;
    free(*name);
    *name = body;
    return 0;
}

static int take_pax(struct tar_reader *reader, uint64_t size) {
    char *body = take_body(reader, size);
    if (body == NULL)
        return -1;
    const char *error = tar_pax_parse(&reader->pax, body, (size_t)size);
    return error == NULL ? 0 : fail(reader, error);
}

/* 1: a header block; 0: the end. The end is a zero block, or the end of the source at a block's edge. */
static int take_header(struct tar_reader *reader, uint8_t *block, uint64_t *size) {
    size_t n = tar_stream_take(&reader->stream, block, TAR_BLOCK_SIZE);
    if (n == 0)
        return 0;
    if (n < TAR_BLOCK_SIZE)
        return fail(reader, "archive ends inside a header");
    if (tar_header_is_zero(block)) {
        n = tar_stream_take(&reader->stream, block, TAR_BLOCK_SIZE);
        return n == 0 || (n == TAR_BLOCK_SIZE && tar_header_is_zero(block)) ? 0
                                                                            : fail(reader, "invalid header");
    }
    if (!tar_header_checksum_matches(block))
        return fail(reader, "header checksum does not match");
    if (!tar_number(block + TAR_AT_SIZE, 12, size) || *size > INT64_MAX)
        return fail(reader, "invalid size");
    return 1;
}

/* Reads up to the header of the entry itself, taking in those that describe it. */
static int take_headers(struct tar_reader *reader, uint8_t *block, uint64_t *size) {
    for (;;) {
        int status = take_header(reader, block, size);
        if (status <= 0)
            return status;
        switch (block[TAR_AT_TYPE]) {
        case 'x':
            status = take_pax(reader, *size);
            break;
        case 'L':
            status = take_long_name(reader, *size, &reader->long_path);
            break;
        case 'K':
            status = take_long_name(reader, *size, &reader->long_link);
            break;
        case 'g': /* defaults for the whole archive: comments in practice; containerd ignores them too */
            if (*size > TAR_HEADER_LIMIT)
                return fail(reader, "extended header too long");
            status = tar_stream_skip(&reader->stream, *size + tar_padding(*size))
                         ? 0
                         : fail(reader, "archive ends inside an extended header");
            break;
        default:
            return 1;
        }
        if (status < 0)
            return -1;
    }
}

static int entry_names(struct tar_reader *reader, const uint8_t *block, struct tar_entry *entry) {
    tar_header_names(block, &reader->names);
    entry->path = reader->long_path != NULL ? reader->long_path : reader->names.path;
    entry->link = reader->long_link != NULL ? reader->long_link : reader->names.link;
    if (reader->pax.path != NULL)
        entry->path = reader->pax.path;
    if (reader->pax.link != NULL)
        entry->link = reader->pax.link;
    if (reader->pax.sparse_name != NULL)
        entry->path = reader->pax.sparse_name;
    reader->error_path = entry->path;
    if (strlen(entry->path) >= TAR_PATH_LIMIT)
        return fail(reader, "path too long");
    if (strlen(entry->link) >= TAR_PATH_LIMIT)
        return fail(reader, "link target too long");
    return 0;
}

/* What stands before an entry describes that entry only. */
static void forget_extensions(struct tar_reader *reader) {
    tar_pax_free(&reader->pax);
    free(reader->long_path);
    free(reader->long_link);
    reader->long_path = reader->long_link = NULL;
    tar_sparse_forget(&reader->sparse);
    reader->segment_index = 0;
    reader->position = 0;
    reader->error_path = NULL;
}

static const char *entry_data(struct tar_reader *reader, const uint8_t *block, uint64_t size,
                              struct tar_entry *entry) {
    reader->data_left = size;
    reader->padding = tar_padding(size);
    entry->size = size;
    return tar_sparse_read(&reader->sparse, &reader->stream, block, &reader->pax, &reader->data_left,
                           &entry->size);
}

int tar_next(struct tar_reader *reader, struct tar_entry *entry) {
    if (!tar_stream_skip(&reader->stream, reader->data_left) ||
        !tar_stream_skip(&reader->stream, reader->padding))
        return fail(reader, "archive ends inside an entry");
    reader->data_left = reader->padding = 0;
    forget_extensions(reader);

    uint8_t block[TAR_BLOCK_SIZE];
    uint64_t size;
    int status = take_headers(reader, block, &size);
    if (status <= 0)
        return status;
    if (reader->pax.has_size)
        size = reader->pax.size;
    *entry = (struct tar_entry){.kind = TAR_FILE};
    if (entry_names(reader, block, entry) < 0)
        return -1;
    const char *error = tar_header_kind(block, entry->path, &entry->kind);
    if (error == NULL)
        error = tar_header_attributes(block, &reader->pax, entry);
    if (error == NULL && (entry->kind == TAR_CHARACTER || entry->kind == TAR_BLOCK))
        error = tar_header_device(block, &reader->pax, entry);
    if (error == NULL && entry->kind == TAR_FILE) /* whatever the size of others says, no data follows them */
        error = entry_data(reader, block, size, entry);
    return error == NULL ? 1 : fail(reader, error);
}

/* How much follows at `position`, which first moves over a hole. */
static uint64_t run_length(struct tar_reader *reader) {
    if (!reader->sparse.present)
        return reader->data_left;
    for (; reader->segment_index < reader->sparse.count; reader->segment_index++) {
        struct tar_segment segment = reader->sparse.segments[reader->segment_index];
        if (reader->position < segment.offset)
            reader->position = segment.offset;
        if (reader->position < segment.offset + segment.length)
            return segment.offset + segment.length - reader->position;
    }
    return 0;
}

int tar_data(struct tar_reader *reader, const uint8_t **data, size_t *length, uint64_t *offset) {
    struct tar_stream *stream = &reader->stream;
    uint64_t run = reader->data_left == 0 ? 0 : run_length(reader);
    if (run == 0)
        return 0;
    if (!tar_stream_available(stream))
        return fail(reader, "archive ends inside a file");
    size_t n = stream->piece_length < run ? stream->piece_length : (size_t)run;
    *data = stream->piece;
    *length = n;
    *offset = reader->position;
    stream->piece += n;
    stream->piece_length -= n;
    reader->data_left -= n;
    reader->position += n;
    return 1;
}
