#include "tar_pax.h"

#include <stdlib.h>
#include <string.h>

#include "tar_number.h"

void tar_pax_free(struct tar_pax *pax) {
    free(pax->body);
    free(pax->xattrs);
    free(pax->sparse_numbers);
    *pax = (struct tar_pax){.body = NULL};
}

/* "-1700000000.25": seconds and a decimal fraction, of which nine digits count. */
static bool parse_time(const char *text, size_t length, struct timespec *time) {
    bool negative = length > 0 && text[0] == '-';
    if (negative) {
        text++;
        length--;
    }
    const char *point = memchr(text, '.', length);
    size_t whole = point == NULL ? length : (size_t)(point - text);
    uint64_t seconds;
    if (!tar_decimal(text, whole, &seconds))
        return false;
    long nanoseconds = 0;
    if (point != NULL) {
        const char *fraction = point + 1;
        size_t digits = length - whole - 1;
        long unit = 100000000;
        for (size_t i = 0; i < digits; i++, unit /= 10) {
            if (fraction[i] < '0' || fraction[i] > '9')
                return false;
            nanoseconds += (fraction[i] - '0') * unit;
        }
    }
    time->tv_sec = (time_t)seconds;
    time->tv_nsec = nanoseconds;
    if (negative) {
        time->tv_sec = -time->tv_sec;
        if (nanoseconds > 0) {
            time->tv_sec--;
            time->tv_nsec = 1000000000 - nanoseconds;
        }
    }
    return true;
}

static const char *add_xattr(struct tar_pax *pax, const char *name, const char *value, size_t length) {
    if (*name == '\0')
        return "extended attribute without a name";
    struct tar_xattr xattr = {.name = name, .value = (const uint8_t *)value, .length = length};
    for (size_t i = 0; i < pax->xattr_count; i++)
        if (strcmp(pax->xattrs[i].name, name) == 0) { /* the later record counts */
            pax->xattrs[i] = xattr;
            return NULL;
        }
    if (pax->xattr_count == TAR_XATTR_LIMIT)
        return "too many extended attributes";
    struct tar_xattr *grown = realloc(pax->xattrs, (pax->xattr_count + 1) * sizeof *grown);
    if (grown == NULL)
        return "no memory for extended attributes";
    pax->xattrs = grown;
    pax->xattrs[pax->xattr_count++] = xattr;
    return NULL;
}

static const char *add_sparse_number(struct tar_pax *pax, const char *text, size_t length) {
    uint64_t number;
    if (!tar_decimal(text, length, &number))
        return "invalid sparse map";
    if (pax->sparse_count == pax->sparse_room) {
        size_t room = pax->sparse_room == 0 ? 64 : pax->sparse_room * 2; /* bounded by the header's length */
        uint64_t *grown = realloc(pax->sparse_numbers, room * sizeof *grown);
        if (grown == NULL)
            return "no memory for the sparse map";
        pax->sparse_numbers = grown;
        pax->sparse_room = room;
    }
    pax->sparse_numbers[pax->sparse_count++] = number;
    return NULL;
}

static const char *parse_sparse_map(struct tar_pax *pax, const char *value, size_t length) {
    const char *end = value + length;
    while (value < end) {
        const char *comma = memchr(value, ',', (size_t)(end - value));
        const char *stop = comma == NULL ? end : comma;
        const char *error = add_sparse_number(pax, value, (size_t)(stop - value));
        if (error != NULL)
            return error;
        value = stop + 1;
    }
    return NULL;
}

static const char *parse_sparse(struct tar_pax *pax, const char *key, const char *value, size_t length) {
    pax->sparse = true;
    if (strcmp(key, "map") == 0)
        return parse_sparse_map(pax, value, length);
    if (strcmp(key, "offset") == 0 || strcmp(key, "numbytes") == 0)
        return add_sparse_number(pax, value, length);
    if (strcmp(key, "name") == 0) {
        pax->sparse_name = value;
        return NULL;
    }
    uint64_t ignored;
    uint64_t *number = strcmp(key, "major") == 0                                  ? &pax->sparse_major
                       : strcmp(key, "minor") == 0                                ? &pax->sparse_minor
                       : strcmp(key, "size") == 0 || strcmp(key, "realsize") == 0 ? &pax->sparse_size
                                                                                  : &ignored;
    return tar_decimal(value, length, number) ? NULL : "invalid sparse record";
}

static const char *parse_number(const char *value, size_t length, bool *has, uint64_t *number) {
    *has = tar_decimal(value, length, number);
    return *has ? NULL : "invalid number in a PAX header";
}

static const char *parse_path(const char *value, size_t length, const char **path) {
    if (strlen(value) != length)
        return "path with a NUL byte";
    *path = value;
    return NULL;
}

/* Keys that say nothing about what we restore (atime, comment, uname …) are passed over. */
static const char *parse_record(struct tar_pax *pax, const char *key, const char *value, size_t length) {
    static const char xattr_prefix[] = "SCHILY.xattr.", sparse_prefix[] = "GNU.sparse.";
    if (strncmp(key, xattr_prefix, sizeof xattr_prefix - 1) == 0)
        return add_xattr(pax, key + sizeof xattr_prefix - 1, value, length);
    if (length == 0) /* an empty value takes back what a global header set */
        return NULL;
    if (strncmp(key, sparse_prefix, sizeof sparse_prefix - 1) == 0)
        return parse_sparse(pax, key + sizeof sparse_prefix - 1, value, length);
    if (strcmp(key, "path") == 0)
        return parse_path(value, length, &pax->path);
    if (strcmp(key, "linkpath") == 0)
        return parse_path(value, length, &pax->link);
    if (strcmp(key, "size") == 0)
        return parse_number(value, length, &pax->has_size, &pax->size);
    if (strcmp(key, "uid") == 0)
        return parse_number(value, length, &pax->has_uid, &pax->uid);
    if (strcmp(key, "gid") == 0)
        return parse_number(value, length, &pax->has_gid, &pax->gid);
    if (strcmp(key, "SCHILY.devmajor") == 0)
        return parse_number(value, length, &pax->has_major, &pax->major);
    if (strcmp(key, "SCHILY.devminor") == 0)
        return parse_number(value, length, &pax->has_minor, &pax->minor);
    if (strcmp(key, "mtime") == 0) {
        pax->has_modified = parse_time(value, length, &pax->modified);
        return pax->has_modified ? NULL : "invalid time in a PAX header";
    }
    return NULL;
}

/* Each record is "LENGTH KEY=VALUE\n", its length counting all of it; values may hold any byte. */
const char *tar_pax_parse(struct tar_pax *pax, char *body, size_t size) {
    tar_pax_free(pax);
    pax->body = body;
    size_t at = 0;
    while (at < size) {
        char *record = body + at;
        char *space = memchr(record, ' ', size - at < 21 ? size - at : 21);
        uint64_t length;
        if (space == NULL || !tar_decimal(record, (size_t)(space - record), &length) || length > size - at ||
            length < (size_t)(space - record) + 3 || record[length - 1] != '\n')
            return "invalid PAX record";
        char *key = space + 1;
        char *end = record + length - 1;
        char *equals = memchr(key, '=', (size_t)(end - key));
        if (equals == NULL || equals == key || memchr(key, '\0', (size_t)(equals - key)) != NULL)
            return "invalid PAX record";
        *equals = '\0';
        *end = '\0';
        const char *error = parse_record(pax, key, equals + 1, (size_t)(end - equals - 1));
        if (error != NULL)
            return error;
        at += (size_t)length;
    }
    return NULL;
}
