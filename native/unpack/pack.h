#pragma once

#include <stdbool.h>
#include <stdint.h>

/*
 * A directory → a tar of all that is in it, itself as "./", in the order of names; into the ring.
 *
 * In overlay form (the writable layer of a container) a whiteout becomes `.wh.NAME` and an opaque directory
 * holds
 * `.wh..wh..opq`; what a layer cannot say is refused (redirect, metacopy) or left out and counted (sockets,
 * files named like a whiteout). Otherwise whiteouts are left out. Holes of sparse files stay holes.
 */

struct pack_result {
    uint64_t entries;
    uint64_t left_out;
};

struct pack_result pack_run(int root, bool overlay);
