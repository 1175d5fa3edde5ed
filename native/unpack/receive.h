#pragma once

#include <stdbool.h>
#include <stdint.h>

/*
 * The body of a blob on its way from a connection into the ring (to be hashed), the blob's file and the pipe
 * of whoever unpacks it. Nothing looks into the bytes.
 */

struct receive_options {
    uint64_t size;        /* of the blob */
    uint64_t idle_ms;     /* how long the connection may be silent */
    int head, connection; /* what was read of it already, and where the rest comes from */
    int pipe, blob;
};

struct receive_result {
    uint64_t bytes;   /* hashed, stored and passed on; fewer than the size if the connection ended */
    int error;        /* of the connection; ETIMEDOUT if it was silent, 0 if the other side closed it */
    bool reader_gone; /* nobody reads the pipe any more: the rest is not worth having */
};

/* Opens what cannot be opened later. */
void receive_open(struct receive_options options);

/* Descriptors → ring; says now and then on `progress` how much that was, as a number on a line of its own. */
void receive_run(int progress);

/* Ring → pipe and blob. */
struct receive_result receive_store(void);
