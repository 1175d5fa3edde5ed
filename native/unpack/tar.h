#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

/*
 * Reads tar: v7, ustar, star, GNU (long names, base-256 numbers, sparse files) and PAX (POSIX.1-2001 pax,
 * extended headers and the three GNU sparse forms). Names, links and attribute values are bytes and stay as
 * they are.
 *
 * Written for hostile input: every length is bounded, nothing is allocated by a number that the archive
 * merely claims, and the reader only ever says "no" (tar_error); it makes no system call but memory's.
 */

enum tar_kind { TAR_FILE, TAR_HARD_LINK, TAR_SYMLINK, TAR_CHARACTER, TAR_BLOCK, TAR_DIRECTORY, TAR_FIFO };

enum {
    TAR_BLOCK_SIZE = 512,
    TAR_HEADER_LIMIT = 1024 * 1024, /* one PAX header, long name or sparse map */
    TAR_PATH_LIMIT = 4096,
    TAR_XATTR_LIMIT = 1024,      /* of one entry */
    TAR_SEGMENT_LIMIT = 1 << 20, /* of one sparse file */
};

struct tar_xattr {
    const char *name;
    const uint8_t *value;
    size_t length;
};

/* A run of data in a sparse file; the rest of it is holes. */
struct tar_segment {
    uint64_t offset;
    uint64_t length;
};

/* Everything in it belongs to the reader and lives until the next tar_next. */
struct tar_entry {
    enum tar_kind kind;
    const char *path;
    const char *link;
    mode_t mode; /* permission bits only */
    uid_t uid;
    gid_t gid;
    uint64_t size; /* of the file, holes included */
    unsigned major, minor;
    struct timespec modified;
    const struct tar_xattr *xattrs;
    size_t xattr_count;
};

/* Where the bytes come from: the next piece, valid until the next call, or NULL at the end. */
struct tar_source {
    const uint8_t *(*next)(void *context, size_t *length);
    void *context;
};

struct tar_reader;

struct tar_reader *tar_open(struct tar_source source);
void tar_close(struct tar_reader *reader);

/* 1: an entry; 0: the archive's end; -1: no valid archive, see tar_error. Data that was not read is skipped.
 */
int tar_next(struct tar_reader *reader, struct tar_entry *entry);

/* Data of the entry, piece by piece, with its offset in the file. 1: a piece; 0: no more; -1: failure. */
int tar_data(struct tar_reader *reader, const uint8_t **data, size_t *length, uint64_t *offset);

const char *tar_error(const struct tar_reader *reader);
/* The path of the entry whose header failed, if it was known. */
const char *tar_error_path(const struct tar_reader *reader);

/* Reads to the end of the source. */
void tar_drain(struct tar_reader *reader);
