/*
 * Paths inside a root that a hostile image or a neighbour on a shared volume may be changing: everything goes
 * by descriptor from the root, nothing is joined to a host path, no link leads out (openat2(2)
 * RESOLVE_IN_ROOT), and no link of procfs is followed at all. Functions return -errno, never fail the step.
 */
#pragma once
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* Below root as if it were "/"; flags are open flags, O_CLOEXEC is added, resolve is RESOLVE_* on top. */
int path_open(int root, const char *path, int flags, uint64_t resolve);

struct path_owner {
    mode_t mode;
    uid_t uid;
    gid_t gid;
};

/* O_PATH of a directory; what is missing is made: parents 0755 root, the last one as owner says. */
int path_make_dir(int root, const char *path, const struct path_owner *owner);
/* The directory that holds the last component, which is copied to name and not looked at: root itself, or
 * opened into *own. */
int path_parent(int root, const char *path, bool create, char name[NAME_MAX + 1], int *own);

enum path_create { PATH_CREATE_NO, PATH_CREATE_DIRECTORY, PATH_CREATE_FILE };

/* O_PATH of the place for a mount: what is there, or what is made if nothing is. That resolve holds for what
 * was made is seen by path_attach only. */
int path_target(int root, const char *path, enum path_create create, uint64_t resolve);
/* Attaches a detached mount on an open target, and checks that the path leads to it now. 0 or -errno. */
int path_attach(int mount, int root, const char *path, int target, uint64_t resolve);
