/*
 * Attach clients: each gets the container's output from the moment it attached, and may feed its input.
 *
 * Output goes through one ring per stream which all clients share; each client has its own position in it. A
 * client whose position would be overwritten stops the reading of the container's output until it has caught
 * up halfway, for ATTACH_GRACE_MS at most: then it is dropped. So neither the log nor the container ever
 * waits longer than that for a client, and one that reads steadily loses nothing.
 */
#pragma once
#include "monitor.h"

#define ATTACH_RING_BYTES 131072u /* per stream: a read always fits behind half of it */
#define ATTACH_GRACE_MS 1000u

/* Answers an ATTACH: 0, or -errno with *message where errno alone does not tell. */
int attach_open(struct request *request, const char **message);
/* Output of the container. */
void attach_output(uint32_t stream, const char *bytes, size_t length);
void attach_on_stdin(uint32_t index);
void attach_on_output(uint32_t index);
/* The container's stdin has room again (or is gone). */
void attach_stdin_ready(void);
void attach_tick(uint64_t now);
uint64_t attach_deadline(void);
/* Whether nothing is left to send to any of them. */
bool attach_flushed(void);
/* Gives the rings' pages back to the kernel if nothing waits in them. */
void attach_release_buffers(void);
/* Closes what is left. */
void attach_close_all(void);
