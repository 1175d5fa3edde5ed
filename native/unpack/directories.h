#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

/*
 * The directories made so far, by their path in the tree without links. What is set on a directory only after
 * everything in it was made is kept here: its time, and its default ACL, which new files would inherit.
 * Also which of them no entry described ("implied").
 */

struct directory {
    char *path; /* "" is the root */
    bool implied;
    struct timespec modified;
    uint8_t *default_acl;
    size_t default_acl_length;
};

/* The record of a directory just made or described anew; earlier knowledge about the path is dropped. */
struct directory *directories_put(const char *path, bool implied);

void directories_set_default_acl(struct directory *directory, const uint8_t *value, size_t length);

/* All of them, parents before children. Ends the table's use. */
struct directory *directories_sorted(size_t *count);
