#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "tar.h"

/*
 * Paths of entries → descriptors below the root directory.
 *
 * The process is already confined to the root (sandbox.h), so nothing here can reach the host. On top of that
 * an entry must say where it stands without tricks: `..` never climbs above the root, neither in a name nor
 * in a link on the way, and links on the way are followed only to directories that the layer has itself. What
 * does not resolve fails with the entry's name.
 */

struct tree_place {
    int parent;                /* descriptor of the parent directory; borrowed until the next call */
    const char *name;          /* last component; NULL for the root itself */
    char path[TAR_PATH_LIMIT]; /* where that is in the tree, links resolved; "" for the root */
};

/* `overlay`: whiteouts of overlayfs are not files. `entries`: how many files may be made (0: any number). */
void tree_open(int root, bool overlay, uint64_t entries);

/* Resolves an entry's path; missing directories on the way are made and noted as implied. */
void tree_resolve(const char *path, struct tree_place *place);
/* The same without making anything, for the target of a hard link. The parent descriptor is the caller's to
 * close. */
void tree_resolve_existing(const char *path, struct tree_place *place);

/* Opens a directory by its path without links, for reading; -1 if there is none. */
int tree_open_directory(const char *path);

/* Removes whatever is there: a file, or a directory with all that is in it. */
void tree_remove(const struct tree_place *place);

/* Counts one more file and fails beyond the limit. */
void tree_count(void);
uint64_t tree_counted(void);

/* Whether the name in that directory is an overlayfs whiteout: a character device 0:0. */
bool tree_is_whiteout(int parent, const char *name);
/* Marks a directory so that nothing of the layers below shows in it. */
void tree_make_opaque(int parent, const char *name);
