#include "tar.h"

#include <stdlib.h>
#include <string.h>

#include "tar_number.h"
#include "tar_pax.h"

/* Where the fields of a header block are (POSIX.1-2017 pax, "ustar Interchange Format"; GNU tar's tar.h). */
enum {
    AT_NAME = 0,
    AT_MODE = 100,
    AT_UID = 108,
    AT_GID = 116,
    AT_SIZE = 124,
    AT_MTIME = 136,
    AT_CHECKSUM = 148,
    AT_TYPE = 156,
    AT_LINK = 157,
    AT_MAGIC = 257,
    AT_MAJOR = 329,
    AT_MINOR = 337,
    AT_PREFIX = 345,
    AT_SPARSE = 386,
    AT_EXTENDED = 482,
    AT_REAL_SIZE = 483,
    AT_STAR_TRAILER = 508,
    SPARSE_RECORD = 24,
    SPARSE_IN_HEADER = 4,
    SPARSE_IN_BLOCK = 21,
    NAME_SIZE = 100,
    PREFIX_SIZE = 155,
    STAR_PREFIX_SIZE = 131,
};

struct tar_reader {
    struct tar_source source;
    const uint8_t *piece; /* what is left of the current piece */
    size_t piece_length;

    uint64_t data_left; /* stored bytes of the entry that were not read */
    uint64_t padding;   /* zero bytes after them up to the block's end */
    bool sparse;
    struct tar_segment *segments;
    size_t segment_count, segment_room, segment_index;
    uint64_t position; /* in the file, of the next data */

    struct tar_pax pax;
    char *long_path, *long_link; /* GNU L and K, for the next entry */
    char header_path[PREFIX_SIZE + 1 + NAME_SIZE + 1];
    char header_link[NAME_SIZE + 1];

    const char *error;
    const char *error_path;
};

struct tar_reader *tar_open(struct tar_source source) {
    struct tar_reader *reader = calloc(1, sizeof *reader);
    if (reader != NULL)
        reader->source = source;
    return reader;
}

void tar_close(struct tar_reader *reader) {
    tar_pax_free(&reader->pax);
    free(reader->segments);
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

/* ---- bytes ---- */

static bool piece_available(struct tar_reader *reader) {
    while (reader->piece_length == 0) {
        reader->piece = reader->source.next(reader->source.context, &reader->piece_length);
        if (reader->piece == NULL) {
            reader->piece_length = 0;
            return false;
        }
    }
    return true;
}

/* Copies up to `size` bytes; fewer only at the end of the source. */
static size_t take(struct tar_reader *reader, void *buffer, size_t size) {
    size_t used = 0;
    while (used < size && piece_available(reader)) {
        size_t n = size - used < reader->piece_length ? size - used : reader->piece_length;
        memcpy((uint8_t *)buffer + used, reader->piece, n);
        reader->piece += n;
        reader->piece_length -= n;
        used += n;
    }
    return used;
}

static bool skip(struct tar_reader *reader, uint64_t count) {
    while (count > 0) {
        if (!piece_available(reader))
            return false;
        size_t n = reader->piece_length < count ? reader->piece_length : (size_t)count;
        reader->piece += n;
        reader->piece_length -= n;
        count -= n;
    }
    return true;
}

void tar_drain(struct tar_reader *reader) {
    while (piece_available(reader))
        reader->piece_length = 0;
}

static uint64_t padding_of(uint64_t size) {
    return (TAR_BLOCK_SIZE - size % TAR_BLOCK_SIZE) % TAR_BLOCK_SIZE;
}

/* ---- header blocks ---- */

static bool block_is_zero(const uint8_t *block) {
    for (size_t i = 0; i < TAR_BLOCK_SIZE; i++)
        if (block[i] != 0)
            return false;
    return true;
}

/* The sum of the block's bytes with the checksum field as blanks; old writers summed signed characters. */
static bool checksum_matches(const uint8_t *block) {
    uint64_t expected;
    if (!tar_number(block + AT_CHECKSUM, 8, &expected))
        return false;
    uint64_t sum = 0;
    int64_t signed_sum = 0;
    for (size_t i = 0; i < TAR_BLOCK_SIZE; i++) {
        uint8_t byte = i >= AT_CHECKSUM && i < AT_CHECKSUM + 8 ? ' ' : block[i];
        sum += byte;
        signed_sum += (int8_t)byte;
    }
    return expected == sum || (signed_sum >= 0 && expected == (uint64_t)signed_sum);
}

static void copy_field(char *to, const uint8_t *field, size_t size) {
    size_t length = strnlen((const char *)field, size);
    memcpy(to, field, length);
    to[length] = '\0';
}

static bool is_ustar(const uint8_t *block) {
    return memcmp(block + AT_MAGIC, "ustar\0", 6) == 0;
}

static bool is_gnu(const uint8_t *block) {
    return memcmp(block + AT_MAGIC, "ustar  \0", 8) == 0;
}

static void header_names(struct tar_reader *reader, const uint8_t *block) {
    char prefix[PREFIX_SIZE + 1] = "";
    char name[NAME_SIZE + 1];
    if (is_ustar(block)) {
        bool star = memcmp(block + AT_STAR_TRAILER, "tar\0", 4) == 0;
        copy_field(prefix, block + AT_PREFIX, star ? STAR_PREFIX_SIZE : PREFIX_SIZE);
    }
    copy_field(name, block + AT_NAME, NAME_SIZE);
    size_t length = strlen(prefix);
    memcpy(reader->header_path, prefix, length);
    if (length > 0)
        reader->header_path[length++] = '/';
    memcpy(reader->header_path + length, name, strlen(name) + 1);
    copy_field(reader->header_link, block + AT_LINK, NAME_SIZE);
}

static int header_kind(struct tar_reader *reader, const uint8_t *block, const char *path,
                       enum tar_kind *kind) {
    size_t length = strlen(path);
    switch (block[AT_TYPE]) {
    case '\0': /* v7 has no type for directories */
        *kind = length > 0 && path[length - 1] == '/' ? TAR_DIRECTORY : TAR_FILE;
        return 0;
    case '0':
    case '7':
    case 'S':
        *kind = TAR_FILE;
        return 0;
    case '1':
        *kind = TAR_HARD_LINK;
        return 0;
    case '2':
        *kind = TAR_SYMLINK;
        return 0;
    case '3':
        *kind = TAR_CHARACTER;
        return 0;
    case '4':
        *kind = TAR_BLOCK;
        return 0;
    case '5':
        *kind = TAR_DIRECTORY;
        return 0;
    case '6':
        *kind = TAR_FIFO;
        return 0;
    default:
        return fail(reader, "unknown entry type");
    }
}

static int header_id(struct tar_reader *reader, const uint8_t *field, bool overridden, uint64_t override,
                     uint32_t *id) {
    uint64_t value = override;
    if (!overridden && !tar_number(field, 8, &value))
        return fail(reader, "invalid owner");
    if (value >= UINT32_MAX) /* chown(2) takes -1 for "leave it" */
        return fail(reader, "owner out of range");
    *id = (uint32_t)value;
    return 0;
}

static int header_device(struct tar_reader *reader, const uint8_t *block, struct tar_entry *entry) {
    uint64_t major = 0, minor = 0;
    if (is_ustar(block) || is_gnu(block))
        if (!tar_number(block + AT_MAJOR, 8, &major) || !tar_number(block + AT_MINOR, 8, &minor))
            return fail(reader, "invalid device number");
    if (reader->pax.has_major)
        major = reader->pax.major;
    if (reader->pax.has_minor)
        minor = reader->pax.minor;
    if (major >= 1 << 12 || minor >= 1 << 20) /* dev_t of the kernel */
        return fail(reader, "device number out of range");
    entry->major = (unsigned)major;
    entry->minor = (unsigned)minor;
    return 0;
}

/* ---- sparse maps ---- */

static int segment_add(struct tar_reader *reader, uint64_t offset, uint64_t length) {
    if (reader->segment_count == TAR_SEGMENT_LIMIT)
        return fail(reader, "sparse map too long");
    if (reader->segment_count == reader->segment_room) {
        size_t room = reader->segment_room == 0 ? 64 : reader->segment_room * 2;
        struct tar_segment *grown = realloc(reader->segments, room * sizeof *grown);
        if (grown == NULL)
            return fail(reader, "no memory for the sparse map");
        reader->segments = grown;
        reader->segment_room = room;
    }
    reader->segments[reader->segment_count++] = (struct tar_segment){.offset = offset, .length = length};
    return 0;
}

/* Records of the old GNU form: pairs of 12 byte numbers, ended by an empty one. 1: there may be more. */
static int sparse_records(struct tar_reader *reader, const uint8_t *records, int count) {
    for (int i = 0; i < count; i++) {
        const uint8_t *record = records + (size_t)i * SPARSE_RECORD;
        if (record[0] == 0)
            return 0;
        uint64_t offset, length;
        if (!tar_number(record, 12, &offset) || !tar_number(record + 12, 12, &length))
            return fail(reader, "invalid sparse map");
        if (segment_add(reader, offset, length) < 0)
            return -1;
    }
    return 1;
}

static int sparse_from_header(struct tar_reader *reader, const uint8_t *header, uint64_t *real_size) {
    if (!is_gnu(header))
        return fail(reader, "sparse entry without GNU header");
    if (!tar_number(header + AT_REAL_SIZE, 12, real_size))
        return fail(reader, "invalid sparse size");
    if (sparse_records(reader, header + AT_SPARSE, SPARSE_IN_HEADER) < 0)
        return -1;
    bool more = header[AT_EXTENDED] != 0;
    while (more) {
        uint8_t block[TAR_BLOCK_SIZE];
        if (take(reader, block, sizeof block) != sizeof block)
            return fail(reader, "archive ends inside a sparse map");
        if (sparse_records(reader, block, SPARSE_IN_BLOCK) < 0)
            return -1;
        more = block[SPARSE_RECORD * SPARSE_IN_BLOCK] != 0;
    }
    return 0;
}

static int sparse_from_records(struct tar_reader *reader) {
    for (size_t i = 0; i + 1 < reader->pax.sparse_count; i += 2)
        if (segment_add(reader, reader->pax.sparse_numbers[i], reader->pax.sparse_numbers[i + 1]) < 0)
            return -1;
    return reader->pax.sparse_count % 2 == 0 ? 0 : fail(reader, "invalid sparse map");
}

/* One decimal number and its newline, of the map that stands before the data in form 1.0. */
static int sparse_data_number(struct tar_reader *reader, uint64_t *value) {
    *value = 0;
    for (int digits = 0;; digits++) {
        uint8_t byte;
        if (reader->data_left == 0 || take(reader, &byte, 1) != 1)
            return fail(reader, "archive ends inside a sparse map");
        reader->data_left--;
        if (byte == '\n' && digits > 0)
            return 0;
        if (byte < '0' || byte > '9' || digits >= 19)
            return fail(reader, "invalid sparse map");
        *value = *value * 10 + (byte - '0');
    }
}

static int sparse_from_data(struct tar_reader *reader) {
    uint64_t before = reader->data_left;
    uint64_t count;
    if (sparse_data_number(reader, &count) < 0)
        return -1;
    if (count > TAR_SEGMENT_LIMIT)
        return fail(reader, "sparse map too long");
    for (uint64_t i = 0; i < count; i++) {
        uint64_t offset, length;
        if (sparse_data_number(reader, &offset) < 0 || sparse_data_number(reader, &length) < 0 ||
            segment_add(reader, offset, length) < 0)
            return -1;
    }
    uint64_t padding = padding_of(before - reader->data_left);
    if (padding > reader->data_left || !skip(reader, padding))
        return fail(reader, "archive ends inside a sparse map");
    reader->data_left -= padding;
    return 0;
}

/* Segments lie in order, do not overlap, end inside the file, and are all that is stored. */
static int sparse_check(struct tar_reader *reader, uint64_t real_size) {
    uint64_t end = 0, stored = 0;
    for (size_t i = 0; i < reader->segment_count; i++) {
        struct tar_segment segment = reader->segments[i];
        if (segment.offset < end || segment.offset > real_size || segment.length > real_size - segment.offset)
            return fail(reader, "invalid sparse map");
        end = segment.offset + segment.length;
        stored += segment.length;
    }
    return stored == reader->data_left ? 0 : fail(reader, "sparse map does not fit the data");
}

static int entry_sparse(struct tar_reader *reader, const uint8_t *header, struct tar_entry *entry) {
    const struct tar_pax *pax = &reader->pax;
    bool old_form = header[AT_TYPE] == 'S';
    if (!old_form && !pax->sparse)
        return 0;
    reader->sparse = true;
    uint64_t real_size = pax->sparse_size;
    int status;
    if (old_form)
        status = sparse_from_header(reader, header, &real_size);
    else if (pax->sparse_major == 1 && pax->sparse_minor == 0)
        status = sparse_from_data(reader);
    else if (pax->sparse_major == 0)
        status = sparse_from_records(reader);
    else
        return fail(reader, "unknown sparse format");
    if (status < 0)
        return -1;
    if (real_size > INT64_MAX)
        return fail(reader, "file too large");
    entry->size = real_size;
    return sparse_check(reader, real_size);
}

/* ---- entries ---- */

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
    if (take(reader, body, (size_t)size) != size || !skip(reader, padding_of(size))) {
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
    size_t n = take(reader, block, TAR_BLOCK_SIZE);
    if (n == 0)
        return 0;
    if (n < TAR_BLOCK_SIZE)
        return fail(reader, "archive ends inside a header");
    if (block_is_zero(block)) {
        n = take(reader, block, TAR_BLOCK_SIZE);
        return n == 0 || (n == TAR_BLOCK_SIZE && block_is_zero(block)) ? 0 : fail(reader, "invalid header");
    }
    if (!checksum_matches(block))
        return fail(reader, "header checksum does not match");
    if (!tar_number(block + AT_SIZE, 12, size) || *size > INT64_MAX)
        return fail(reader, "invalid size");
    return 1;
}

/* Reads up to the header of the entry itself, taking in those that describe it. */
static int take_headers(struct tar_reader *reader, uint8_t *block, uint64_t *size) {
    for (;;) {
        int status = take_header(reader, block, size);
        if (status <= 0)
            return status;
        switch (block[AT_TYPE]) {
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
            status = skip(reader, *size + padding_of(*size))
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
    header_names(reader, block);
    entry->path = reader->long_path != NULL ? reader->long_path : reader->header_path;
    entry->link = reader->long_link != NULL ? reader->long_link : reader->header_link;
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

static int entry_attributes(struct tar_reader *reader, const uint8_t *block, struct tar_entry *entry) {
    const struct tar_pax *pax = &reader->pax;
    uint64_t mode;
    int64_t seconds;
    if (!tar_number(block + AT_MODE, 8, &mode))
        return fail(reader, "invalid mode");
    entry->mode = (mode_t)(mode & 07777);
    if (header_id(reader, block + AT_UID, pax->has_uid, pax->uid, &entry->uid) < 0 ||
        header_id(reader, block + AT_GID, pax->has_gid, pax->gid, &entry->gid) < 0)
        return -1;
    if (pax->has_modified) {
        entry->modified = pax->modified;
    } else {
        if (!tar_signed_number(block + AT_MTIME, 12, &seconds))
            return fail(reader, "invalid time");
        entry->modified = (struct timespec){.tv_sec = seconds};
    }
    entry->xattrs = pax->xattrs;
    entry->xattr_count = pax->xattr_count;
    return 0;
}

/* What stands before an entry describes that entry only. */
static void forget_extensions(struct tar_reader *reader) {
    tar_pax_free(&reader->pax);
    free(reader->long_path);
    free(reader->long_link);
    reader->long_path = reader->long_link = NULL;
    reader->segment_count = reader->segment_index = 0;
    reader->sparse = false;
    reader->position = 0;
    reader->error_path = NULL;
}

int tar_next(struct tar_reader *reader, struct tar_entry *entry) {
    if (!skip(reader, reader->data_left) || !skip(reader, reader->padding))
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
    if (entry_names(reader, block, entry) < 0 || header_kind(reader, block, entry->path, &entry->kind) < 0 ||
        entry_attributes(reader, block, entry) < 0)
        return -1;
    if (entry->kind == TAR_CHARACTER || entry->kind == TAR_BLOCK)
        return header_device(reader, block, entry) < 0 ? -1 : 1;
    if (entry->kind != TAR_FILE) /* whatever their size says, no data follows */
        return 1;
    reader->data_left = size;
    reader->padding = padding_of(size);
    entry->size = size;
    return entry_sparse(reader, block, entry) < 0 ? -1 : 1;
}

int tar_data(struct tar_reader *reader, const uint8_t **data, size_t *length, uint64_t *offset) {
    if (reader->data_left == 0)
        return 0;
    uint64_t limit = reader->data_left;
    if (reader->sparse) {
        while (reader->segment_index < reader->segment_count) {
            struct tar_segment segment = reader->segments[reader->segment_index];
            if (reader->position < segment.offset)
                reader->position = segment.offset;
            if (reader->position < segment.offset + segment.length) {
                limit = segment.offset + segment.length - reader->position;
                break;
            }
            reader->segment_index++;
        }
    }
    if (!piece_available(reader))
        return fail(reader, "archive ends inside a file");
    size_t n = reader->piece_length < limit ? reader->piece_length : (size_t)limit;
    *data = reader->piece;
    *length = n;
    *offset = reader->position;
    reader->piece += n;
    reader->piece_length -= n;
    reader->data_left -= n;
    reader->position += n;
    return 1;
}
