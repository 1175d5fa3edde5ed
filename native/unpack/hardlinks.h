#pragma once

#include <sys/types.h>

/* The first path under which each file with several names was met; NULL (and remembered) the first time. */
const char *hardlinks_first(dev_t device, ino_t inode, const char *path);
