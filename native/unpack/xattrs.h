#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Extended attributes of an open file or directory, or of a name in the working directory (links, special
 * files). */

struct xattr_list {
    char *names; /* each ended by a NUL */
    size_t length;
};

struct xattr_value {
    uint8_t *bytes;
    size_t length;
};

/* A file system without them has none. */
struct xattr_list xattrs_of_open(int fd);
struct xattr_list xattrs_of_name(const char *name);
struct xattr_value xattr_of_open(int fd, const char *attribute);
struct xattr_value xattr_of_name(const char *name, const char *attribute);

/* The name after this one, or the first for NULL; NULL at the end. */
const char *xattrs_next(const struct xattr_list *list, const char *name);

/* overlayfs' own (opaque, redirect, metacopy …): never part of a layer's files, and hostile in one. */
bool xattr_is_overlay(const char *name);
