#pragma once

#include "tar.h"
#include "tar_header.h"
#include "tar_pax.h"
#include "tar_stream.h"

/*
 * Where the data of a sparse file lies. GNU tar has written that down in four ways: in the header and blocks
 * after it (type S), in PAX records (0.0: repeated ones, 0.1: one list), and in front of the data (1.0).
 */
struct tar_sparse {
    bool present;
    struct tar_segment *segments;
    size_t count, room;
};

/*
 * Reads the map if the entry has one. `stored` are the bytes after the header, of which a map takes its own;
 * `size` becomes that of the file. Segments lie in order, do not overlap, end inside the file and are all
 * that is stored. Returns what is wrong, or NULL.
 */
const char *tar_sparse_read(struct tar_sparse *sparse, struct tar_stream *stream, const uint8_t *header,
                            const struct tar_pax *pax, uint64_t *stored, uint64_t *size);

void tar_sparse_forget(struct tar_sparse *sparse);
void tar_sparse_free(struct tar_sparse *sparse);
