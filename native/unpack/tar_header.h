#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "tar.h"
#include "tar_pax.h"

/* One header block of 512 bytes. What is wrong with it is returned as text; NULL is success. */

/* Where the fields of a header block are (POSIX.1-2017 pax, "ustar Interchange Format"; GNU tar's tar.h). */
enum {
    TAR_AT_NAME = 0,
    TAR_AT_MODE = 100,
    TAR_AT_UID = 108,
    TAR_AT_GID = 116,
    TAR_AT_SIZE = 124,
    TAR_AT_MTIME = 136,
    TAR_AT_CHECKSUM = 148,
    TAR_AT_TYPE = 156,
    TAR_AT_LINK = 157,
    TAR_AT_MAGIC = 257,
    TAR_AT_MAJOR = 329,
    TAR_AT_MINOR = 337,
    TAR_AT_PREFIX = 345,
    TAR_AT_SPARSE = 386,
    TAR_AT_EXTENDED = 482,
    TAR_AT_REAL_SIZE = 483,
    TAR_AT_STAR_TRAILER = 508,
};

enum { TAR_NAME_SIZE = 100, TAR_PREFIX_SIZE = 155 };

/* The names in the block itself; longer ones come in blocks of their own. */
struct tar_names {
    char path[TAR_PREFIX_SIZE + 1 + TAR_NAME_SIZE + 1];
    char link[TAR_NAME_SIZE + 1];
};

bool tar_header_is_zero(const uint8_t *block);
bool tar_header_checksum_matches(const uint8_t *block);
bool tar_header_is_gnu(const uint8_t *block);

void tar_header_names(const uint8_t *block, struct tar_names *names);
const char *tar_header_kind(const uint8_t *block, const char *path, enum tar_kind *kind);

/* Mode, owner, time and extended attributes, where the PAX records say otherwise from them. */
const char *tar_header_attributes(const uint8_t *block, const struct tar_pax *pax, struct tar_entry *entry);
const char *tar_header_device(const uint8_t *block, const struct tar_pax *pax, struct tar_entry *entry);
