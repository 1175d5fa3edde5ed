#pragma once

#include <stdbool.h>

/*
 * What the process can still do while it handles hostile data: read its input, write its record, and make
 * files in one directory that is its whole world.
 *
 * sandbox_enter gives it namespaces of its own (mount, network, pid, ipc, uts), a root that is the directory
 * mounted nodev, nosuid, noexec and nothing else (the host's mounts are gone, not hidden), few capabilities
 * and no new ones. sandbox_seal adds a list of system calls: no program, mount, socket, process, tracing or
 * BPF; those kill. Nothing of the directory is ever loaded: there is no locale, no name service, no program
 * to start.
 */

enum sandbox_root {
    SANDBOX_DIRECTORY, /* `directory` becomes the root, writable */
    SANDBOX_EMPTY,     /* an empty read-only root; `directory` is reached by its descriptor only */
};

/*
 * Returns in a child process of the caller, which never returns: it waits and ends as the child does.
 * All descriptors from `last_fd` + 1 on are closed. Returns a descriptor of the directory.
 */
int sandbox_enter(enum sandbox_root root, int directory, int last_fd);

/* For passing bytes on that nobody looks into: no capability, and no other root, as nothing is opened. */
void sandbox_enter_bare(void);

/* For all threads. */
void sandbox_seal(void);

/* For a thread that only computes on bytes: no capability, and only reading, writing and memory. */
void sandbox_drop_thread(void);
void sandbox_seal_thread(void);
