#include "encode.h"

#include <errno.h>
#include <fcntl.h>
#include <isa-l/igzip_lib.h>
#include <stdlib.h>
#include <unistd.h>

#include "report.h"
#include "ring.h"

enum { OUTPUT_SIZE = 256 * 1024, PIPE_SIZE = 1024 * 1024 };

static void write_all(const uint8_t *data, size_t length) {
    while (length > 0) {
        ssize_t n = write(STDOUT_FILENO, data, length);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            report_fail("write", errno, "cannot write the archive");
        data += n;
        length -= (size_t)n;
    }
}

static void encode_plain(void) {
    const uint8_t *data;
    size_t length;
    while ((data = ring_next(RING_CONTENT, &length)) != NULL)
        write_all(data, length);
}

/* Compresses what the stream was given, or what is left at the end. */
static void deflate_out(struct isal_zstream *stream, uint8_t *output) {
    do {
        stream->next_out = output;
        stream->avail_out = OUTPUT_SIZE;
        if (isal_deflate(stream) != COMP_OK)
            report_fail("compress", EIO, "gzip failed");
        write_all(output, OUTPUT_SIZE - stream->avail_out);
    } while (stream->avail_out == 0 || stream->avail_in > 0);
}

static void encode_gzip(void) {
    struct isal_zstream *stream = malloc(sizeof *stream);
    uint8_t *level = malloc(ISAL_DEF_LVL1_DEFAULT), *output = malloc(OUTPUT_SIZE);
    if (stream == NULL || level == NULL || output == NULL)
        report_fail("malloc", ENOMEM, "no memory for gzip");
    isal_deflate_init(stream);
    stream->level = 1;
    stream->level_buf = level;
    stream->level_buf_size = ISAL_DEF_LVL1_DEFAULT;
    stream->gzip_flag = IGZIP_GZIP;
    const uint8_t *data;
    size_t length;
    while ((data = ring_next(RING_CONTENT, &length)) != NULL) {
        stream->next_in = (uint8_t *)(uintptr_t)data; /* only read */
        stream->avail_in = (uint32_t)length;
        deflate_out(stream, output);
    }
    stream->next_in = NULL;
    stream->avail_in = 0;
    stream->end_of_stream = 1;
    deflate_out(stream, output);
    free(output);
    free(level);
    free(stream);
}

void encode_run(bool gzip) {
    (void)fcntl(STDOUT_FILENO, F_SETPIPE_SZ, PIPE_SIZE);
    if (gzip)
        encode_gzip();
    else
        encode_plain();
}
