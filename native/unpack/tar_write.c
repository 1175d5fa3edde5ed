#include "tar_write.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "report.h"
#include "ring.h"

enum { NAME_SIZE = 100, RECORD_LENGTH_DIGITS = 12 };

static const uint64_t octal7 = 07777777, octal11 = 077777777777;

/* ---- PAX records ---- */

static uint8_t *records;
static size_t records_used, records_room;

static void records_append(const void *data, size_t length) {
    if (records_used + length > records_room) {
        records_room = (records_used + length) * 2;
        records = realloc(records, records_room);
        if (records == NULL)
            report_fail("malloc", ENOMEM, "no memory for an extended header");
    }
    memcpy(records + records_used, data, length);
    records_used += length;
}

/* "LENGTH KEY=VALUE\n", where the length counts its own digits. */
static void record_bytes(const char *prefix, const char *key, const void *value, size_t length) {
    size_t rest = 1 + strlen(prefix) + strlen(key) + 1 + length + 1;
    size_t total = rest + 1;
    char digits[RECORD_LENGTH_DIGITS + 12];
    while (rest + (size_t)snprintf(digits, sizeof digits, "%zu", total) != total)
        total = rest + strlen(digits);
    records_append(digits, strlen(digits));
    records_append(" ", 1);
    records_append(prefix, strlen(prefix));
    records_append(key, strlen(key));
    records_append("=", 1);
    records_append(value, length);
    records_append("\n", 1);
}

static void record_text(const char *key, const char *value) {
    record_bytes("", key, value, strlen(value));
}

static void record_number(const char *key, uint64_t value) {
    char text[24];
    (void)snprintf(text, sizeof text, "%" PRIu64, value);
    record_text(key, text);
}

static void record_time(const char *key, struct timespec time) {
    char text[48];
    int64_t seconds = time.tv_sec;
    long nanoseconds = time.tv_nsec;
    bool negative = seconds < 0;
    if (negative && nanoseconds > 0) { /* the fraction goes away from zero in text */
        seconds++;
        nanoseconds = 1000000000 - nanoseconds;
    }
    uint64_t magnitude = negative ? (uint64_t)0 - (uint64_t)seconds : (uint64_t)seconds;
    (void)snprintf(text, sizeof text, "%s%" PRIu64 ".%09ld", negative ? "-" : "", magnitude, nanoseconds);
    record_text(key, text);
}

/* ---- header blocks ---- */

static void put_octal(uint8_t *field, size_t size, uint64_t value) {
    for (size_t i = size - 1; i-- > 0; value >>= 3)
        field[i] = (uint8_t)('0' + (value & 7));
}

static void put_text(uint8_t *field, size_t size, const char *text) {
    size_t length = strlen(text);
    memcpy(field, text, length < size ? length : size);
}

struct block {
    const char *name;
    const char *link;
    char type;
    uint64_t mode, uid, gid, size, modified, major, minor;
};

static void write_block(const struct block *block) {
    uint8_t bytes[TAR_BLOCK_SIZE] = {0};
    put_text(bytes, NAME_SIZE, block->name);
    put_octal(bytes + 100, 8, block->mode);
    put_octal(bytes + 108, 8, block->uid);
    put_octal(bytes + 116, 8, block->gid);
    put_octal(bytes + 124, 12, block->size);
    put_octal(bytes + 136, 12, block->modified);
    memset(bytes + 148, ' ', 8);
    bytes[156] = (uint8_t)block->type;
    put_text(bytes + 157, NAME_SIZE, block->link);
    memcpy(bytes + 257, "ustar\00000", 8);
    put_octal(bytes + 329, 8, block->major);
    put_octal(bytes + 337, 8, block->minor);
    uint64_t sum = 0;
    for (size_t i = 0; i < sizeof bytes; i++)
        sum += bytes[i];
    put_octal(bytes + 148, 7, sum);
    ring_copy(bytes, sizeof bytes);
}

void tar_write_padding(uint64_t length) {
    static const uint8_t zeros[TAR_BLOCK_SIZE];
    ring_copy(zeros, (TAR_BLOCK_SIZE - length % TAR_BLOCK_SIZE) % TAR_BLOCK_SIZE);
}

void tar_write_end(void) {
    static const uint8_t zeros[2 * TAR_BLOCK_SIZE];
    ring_copy(zeros, sizeof zeros);
}

/* ---- sparse maps ---- */

static char *map;
static size_t map_used, map_room;

static void map_number(uint64_t number) {
    enum { LINE = 24 };
    if (map_used + LINE > map_room) {
        map_room = map_room == 0 ? 4096 : map_room * 2;
        map = realloc(map, map_room);
        if (map == NULL)
            report_fail("malloc", ENOMEM, "no memory for a sparse map");
    }
    map_used += (size_t)snprintf(map + map_used, LINE, "%" PRIu64 "\n", number);
}

/* Returns the stored size: the map, padded, and the data. */
static uint64_t build_map(const struct tar_segment *segments, size_t count) {
    map_used = 0;
    map_number(count);
    uint64_t data = 0;
    for (size_t i = 0; i < count; i++) {
        map_number(segments[i].offset);
        map_number(segments[i].length);
        data += segments[i].length;
    }
    return (map_used + TAR_BLOCK_SIZE - 1) / TAR_BLOCK_SIZE * TAR_BLOCK_SIZE + data;
}

static void records_of_sparse(const struct tar_entry *entry) {
    record_text("GNU.sparse.major", "1");
    record_text("GNU.sparse.minor", "0");
    record_text("GNU.sparse.name", entry->path);
    record_number("GNU.sparse.realsize", entry->size);
}

/* ---- entries ---- */

static char type_of(enum tar_kind kind) {
    static const char types[] = {
        [TAR_FILE] = '0',  [TAR_HARD_LINK] = '1', [TAR_SYMLINK] = '2', [TAR_CHARACTER] = '3',
        [TAR_BLOCK] = '4', [TAR_DIRECTORY] = '5', [TAR_FIFO] = '6',
    };
    return types[kind];
}

/* A value that fits the header's field goes there, any other into a record. */
static uint64_t field_or_record(const char *key, uint64_t value, uint64_t limit) {
    if (value <= limit)
        return value;
    record_number(key, value);
    return 0;
}

static uint64_t time_field(struct timespec time) {
    bool fits = time.tv_sec >= 0 && (uint64_t)time.tv_sec <= octal11;
    if (!fits || time.tv_nsec != 0)
        record_time("mtime", time);
    return fits ? (uint64_t)time.tv_sec : 0;
}

static void write_records(void) {
    if (records_used == 0)
        return;
    write_block(&(struct block){
        .name = "PaxHeaders.0/entry", .link = "", .type = 'x', .mode = 0644, .size = records_used});
    ring_copy(records, records_used);
    tar_write_padding(records_used);
}

void tar_write_header(const struct tar_entry *entry, const struct tar_segment *segments,
                      size_t segment_count) {
    bool sparse = segments != NULL;
    records_used = 0;
    uint64_t stored = sparse ? build_map(segments, segment_count) : entry->kind == TAR_FILE ? entry->size : 0;
    if (sparse)
        records_of_sparse(entry);
    else if (strlen(entry->path) > NAME_SIZE)
        record_text("path", entry->path);
    if (strlen(entry->link) > NAME_SIZE)
        record_text("linkpath", entry->link);
    struct block block = {
        .name = sparse ? "GNUSparseFile.0/entry" : entry->path,
        .link = entry->link,
        .type = type_of(entry->kind),
        .mode = entry->mode,
        .uid = field_or_record("uid", entry->uid, octal7),
        .gid = field_or_record("gid", entry->gid, octal7),
        .size = field_or_record("size", stored, octal11),
        .modified = time_field(entry->modified),
        .major = entry->major,
        .minor = entry->minor,
    };
    for (size_t i = 0; i < entry->xattr_count; i++)
        record_bytes("SCHILY.xattr.", entry->xattrs[i].name, entry->xattrs[i].value, entry->xattrs[i].length);
    write_records();
    write_block(&block);
    if (sparse) {
        ring_copy(map, map_used);
        tar_write_padding(map_used);
    }
}
