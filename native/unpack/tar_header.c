#include "tar_header.h"

#include <string.h>

#include "tar_number.h"

enum { STAR_PREFIX_SIZE = 131 };

bool tar_header_is_zero(const uint8_t *block) {
    for (size_t i = 0; i < TAR_BLOCK_SIZE; i++)
        if (block[i] != 0)
            return false;
    return true;
}

/* The sum of the block's bytes with the checksum field as blanks; old writers summed signed characters. */
bool tar_header_checksum_matches(const uint8_t *block) {
    uint64_t expected;
    if (!tar_number(block + TAR_AT_CHECKSUM, 8, &expected))
        return false;
    uint64_t sum = 0;
    int64_t signed_sum = 0;
    for (size_t i = 0; i < TAR_BLOCK_SIZE; i++) {
        uint8_t byte = i >= TAR_AT_CHECKSUM && i < TAR_AT_CHECKSUM + 8 ? ' ' : block[i];
        sum += byte;
        signed_sum += (int8_t)byte;
    }
    return expected == sum || (signed_sum >= 0 && expected == (uint64_t)signed_sum);
}

static void copy_field(char *to, const uint8_t *field, size_t size) {
    size_t length = strnlen((const char *)field, size);
    memcpy(to, field, length);
    to[length] = '\0';
}

static bool is_ustar(const uint8_t *block) {
    return memcmp(block + TAR_AT_MAGIC, "ustar\0", 6) == 0;
}

bool tar_header_is_gnu(const uint8_t *block) {
    return memcmp(block + TAR_AT_MAGIC, "ustar  \0", 8) == 0;
}

void tar_header_names(const uint8_t *block, struct tar_names *names) {
    char prefix[TAR_PREFIX_SIZE + 1] = "";
    char name[TAR_NAME_SIZE + 1];
    if (is_ustar(block)) {
        bool star = memcmp(block + TAR_AT_STAR_TRAILER, "tar\0", 4) == 0;
        copy_field(prefix, block + TAR_AT_PREFIX, star ? STAR_PREFIX_SIZE : TAR_PREFIX_SIZE);
    }
    copy_field(name, block + TAR_AT_NAME, TAR_NAME_SIZE);
    size_t length = strlen(prefix);
    memcpy(names->path, prefix, length);
    if (length > 0)
        names->path[length++] = '/';
    memcpy(names->path + length, name, strlen(name) + 1);
    copy_field(names->link, block + TAR_AT_LINK, TAR_NAME_SIZE);
}

const char *tar_header_kind(const uint8_t *block, const char *path, enum tar_kind *kind) {
    size_t length = strlen(path);
    switch (block[TAR_AT_TYPE]) {
    case '\0': /* v7 has no type for directories */
        *kind = length > 0 && path[length - 1] == '/' ? TAR_DIRECTORY : TAR_FILE;
        return NULL;
    case '0':
    case '7':
    case 'S':
        *kind = TAR_FILE;
        return NULL;
    case '1':
        *kind = TAR_HARD_LINK;
        return NULL;
    case '2':
        *kind = TAR_SYMLINK;
        return NULL;
    case '3':
        *kind = TAR_CHARACTER;
        return NULL;
    case '4':
        *kind = TAR_BLOCK;
        return NULL;
    case '5':
        *kind = TAR_DIRECTORY;
        return NULL;
    case '6':
        *kind = TAR_FIFO;
        return NULL;
    default:
        return "unknown entry type";
    }
}

static const char *owner(const uint8_t *field, bool overridden, uint64_t override, uint32_t *id) {
    uint64_t value = override;
    if (!overridden && !tar_number(field, 8, &value))
        return "invalid owner";
    if (value >= UINT32_MAX) /* chown(2) takes -1 for "leave it" */
        return "owner out of range";
    *id = (uint32_t)value;
    return NULL;
}

const char *tar_header_device(const uint8_t *block, const struct tar_pax *pax, struct tar_entry *entry) {
    uint64_t major = 0, minor = 0;
    if (is_ustar(block) || tar_header_is_gnu(block))
        if (!tar_number(block + TAR_AT_MAJOR, 8, &major) || !tar_number(block + TAR_AT_MINOR, 8, &minor))
            return "invalid device number";
    if (pax->has_major)
        major = pax->major;
    if (pax->has_minor)
        minor = pax->minor;
    if (major >= 1 << 12 || minor >= 1 << 20) /* dev_t of the kernel */
        return "device number out of range";
    entry->major = (unsigned)major;
    entry->minor = (unsigned)minor;
    return NULL;
}

const char *tar_header_attributes(const uint8_t *block, const struct tar_pax *pax, struct tar_entry *entry) {
    uint64_t mode;
    int64_t seconds;
    if (!tar_number(block + TAR_AT_MODE, 8, &mode))
        return "invalid mode";
    entry->mode = (mode_t)(mode & 07777);
    const char *error = owner(block + TAR_AT_UID, pax->has_uid, pax->uid, &entry->uid);
    if (error == NULL)
        error = owner(block + TAR_AT_GID, pax->has_gid, pax->gid, &entry->gid);
    if (error != NULL)
        return error;
    if (pax->has_modified) {
        entry->modified = pax->modified;
    } else {
        if (!tar_signed_number(block + TAR_AT_MTIME, 12, &seconds))
            return "invalid time";
        entry->modified = (struct timespec){.tv_sec = seconds};
    }
    entry->xattrs = pax->xattrs;
    entry->xattr_count = pax->xattr_count;
    return NULL;
}
