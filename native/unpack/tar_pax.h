#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "tar.h"

/* The records of a PAX extended header that say something about a file (POSIX.1-2017 pax, "pax Header
 * Block"). */
struct tar_pax {
    char *body; /* owned; names and values point into it */
    const char *path;
    const char *link;
    bool has_size, has_uid, has_gid, has_modified, has_major, has_minor;
    uint64_t size, uid, gid, major, minor;
    struct timespec modified;

    struct tar_xattr *xattrs; /* SCHILY.xattr.NAME */
    size_t xattr_count;

    bool sparse; /* some GNU.sparse.* record was there */
    uint64_t sparse_major, sparse_minor, sparse_size;
    const char *sparse_name;
    uint64_t *sparse_numbers; /* offset, length, offset, length … */
    size_t sparse_count, sparse_room;
};

/* Takes over `body` (malloc, one byte longer than `size`). Returns what is wrong, or NULL. */
const char *tar_pax_parse(struct tar_pax *pax, char *body, size_t size);

void tar_pax_free(struct tar_pax *pax);
