#pragma once

#include "tar.h"

/* Writes tar into the ring: ustar, with PAX records for whatever does not fit it, as every runtime reads. */

/*
 * The header of an entry. `segments` are the data of a sparse file in order (GNU PAX form 1.0); without any
 * the data is the whole file. The caller then puts the data itself into the ring and calls tar_write_padding.
 */
void tar_write_header(const struct tar_entry *entry, const struct tar_segment *segments,
                      size_t segment_count);

/* Zero bytes after `length` bytes of data up to the block's end. */
void tar_write_padding(uint64_t length);

/* The end of the archive. */
void tar_write_end(void);
