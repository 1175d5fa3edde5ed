#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "directories.h"

/*
 * Makes the files of a tar below a directory.
 *
 * In overlay form (a layer) `.wh.NAME` becomes overlayfs' whiteout, a character device 0:0, and
 * `.wh..wh..opq` makes its directory opaque, wherever in the tar they stand: they speak of the layers below
 * only, so what this layer has itself stays. Otherwise such names are ordinary files.
 *
 * As with containerd and tar, a later entry replaces an earlier one of the same name, except that a directory
 * joins the directory that is there.
 */

struct extract_options {
    int root;
    bool overlay;
    uint64_t entry_limit; /* 0: none */
};

struct extract_result {
    uint64_t entries;
    uint64_t disk_bytes;           /* in blocks of 4 KiB */
    uint64_t ignored_xattrs;       /* the file system does not have them, or they are overlayfs' own */
    uint64_t root_xattrs;          /* what the root directory's own entry brought */
    bool opaque_root;              /* nothing of the layers below shows at all */
    struct directory *directories; /* parents first */
    size_t directory_count;
};

/* Reads the tar from the ring; fails through report_fail. */
struct extract_result extract_run(struct extract_options options);
