#include "hardlinks.h"

#include <errno.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>

#include "report.h"

struct hardlink {
    dev_t device;
    ino_t inode;
    char *path;
};

static void *hardlinks; /* tsearch(3) */

static int compare(const void *a, const void *b) {
    const struct hardlink *one = a, *other = b;
    if (one->device != other->device)
        return one->device < other->device ? -1 : 1;
    return one->inode == other->inode ? 0 : one->inode < other->inode ? -1 : 1;
}

const char *hardlinks_first(dev_t device, ino_t inode, const char *path) {
    struct hardlink *link = malloc(sizeof *link);
    if (link == NULL)
        report_fail("malloc", ENOMEM, "no memory for the table of hard links");
    *link = (struct hardlink){.device = device, .inode = inode};
    struct hardlink **found = tsearch(link, &hardlinks, compare);
    if (found == NULL)
        report_fail("malloc", ENOMEM, "no memory for the table of hard links");
    if (*found != link) {
        free(link);
        return (*found)->path;
    }
    link->path = strdup(path);
    if (link->path == NULL)
        report_fail("malloc", ENOMEM, "no memory for the table of hard links");
    return NULL;
}
