#include "xattrs.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>

#include "report.h"

enum { LIST_MAX = 64 * 1024, VALUE_MAX = 64 * 1024 }; /* limits of the kernel */

static void *room(size_t size) {
    void *memory = malloc(size);
    if (memory == NULL)
        report_fail("malloc", ENOMEM, "no memory for extended attributes");
    return memory;
}

static struct xattr_list list_of(ssize_t length, char *names) {
    if (length < 0 && errno != ENOTSUP)
        report_fail("listxattr", errno, "cannot list extended attributes");
    return (struct xattr_list){.names = names, .length = length < 0 ? 0 : (size_t)length};
}

struct xattr_list xattrs_of_open(int fd) {
    char *names = room(LIST_MAX);
    return list_of(flistxattr(fd, names, LIST_MAX), names);
}

struct xattr_list xattrs_of_name(const char *name) {
    char *names = room(LIST_MAX);
    return list_of(llistxattr(name, names, LIST_MAX), names);
}

static struct xattr_value value_of(ssize_t length, uint8_t *bytes, const char *attribute) {
    if (length < 0)
        report_fail("getxattr", errno, "cannot read the extended attribute %s", attribute);
    return (struct xattr_value){.bytes = bytes, .length = (size_t)length};
}

struct xattr_value xattr_of_open(int fd, const char *attribute) {
    uint8_t *bytes = room(VALUE_MAX);
    return value_of(fgetxattr(fd, attribute, bytes, VALUE_MAX), bytes, attribute);
}

struct xattr_value xattr_of_name(const char *name, const char *attribute) {
    uint8_t *bytes = room(VALUE_MAX);
    return value_of(lgetxattr(name, attribute, bytes, VALUE_MAX), bytes, attribute);
}

const char *xattrs_next(const struct xattr_list *list, const char *name) {
    const char *next = name == NULL ? list->names : name + strlen(name) + 1;
    return next < list->names + list->length ? next : NULL;
}

bool xattr_is_overlay(const char *name) {
    return strncmp(name, "trusted.overlay.", strlen("trusted.overlay.")) == 0;
}
