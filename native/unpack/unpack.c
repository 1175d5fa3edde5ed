/*
 * podwright-unpack: handles the content of image layers and snapshots, which is hostile, in a process of its
 * own.
 *
 *   podwright-unpack extract [--parent=PID] [--overlay] [--max-bytes=N] [--max-entries=N]
 *       reads a tar (gzip, zstd or plain) from descriptor 0 and makes its files in the directory of
 * descriptor 4
 *
 *   podwright-unpack pack [--parent=PID] [--overlay] [--gzip] [--max-bytes=N]
 *       writes a tar of the directory of descriptor 4 to descriptor 1
 *   podwright-unpack receive [--parent=PID] --size=N --idle-ms=N
 *       passes the body of a blob on from the connection of descriptor 0 to descriptor 1 and writes it into
 * the file of descriptor 4; what was read of it before is on descriptor 5 podwright-unpack inherit
 * [--parent=PID] gives directories of descriptor 4, named on descriptor 0, the attributes they have below
 * descriptor 5
 *
 * Descriptor 3 receives one record (report.h); the exit code is 0 if it says ok. Who starts it:
 * runtime/snapshot.
 */

#include <errno.h>
#include <getopt.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "decode.h"
#include "digest.h"
#include "encode.h"
#include "extract.h"
#include "inherit.h"
#include "pack.h"
#include "receive.h"
#include "report.h"
#include "ring.h"
#include "sandbox.h"

enum { RECORD_FD = 3, DIRECTORY_FD = 4, SOURCE_FD = 5 };
enum { CONNECTION_FD = STDIN_FILENO, PIPE_FD = STDOUT_FILENO, BLOB_FD = 4, HEAD_FD = 5 };

static struct {
    bool overlay;
    bool gzip;
    uint64_t max_bytes;
    uint64_t max_entries;
    uint64_t size;
    uint64_t idle_ms;
} options;

/* ---- threads ---- */

static pthread_barrier_t meeting;
static struct digest *tar_digest;
static uint64_t tar_bytes;

/* Both threads that only compute give up their capabilities first, and files once everybody is confined. */
static void compute_only(void) {
    sandbox_drop_thread();
    (void)pthread_barrier_wait(&meeting); /* then everybody is sealed, which forbids capset */
    (void)pthread_barrier_wait(&meeting);
    sandbox_seal_thread();
}

static void *decode_thread(void *unused) {
    compute_only();
    decode_run();
    return unused;
}

static void *encode_thread(void *unused) {
    compute_only();
    encode_run(options.gzip);
    return unused;
}

static void *receive_thread(void *unused) {
    compute_only();
    receive_run(RECORD_FD);
    return unused;
}

static void *digest_thread(void *unused) {
    compute_only();
    const uint8_t *data;
    size_t length;
    while ((data = ring_next(RING_DIGEST, &length)) != NULL) {
        digest_add(tar_digest, data, length);
        tar_bytes += length;
    }
    return unused;
}

struct crew {
    pthread_t coder, hasher;
};

static pthread_t start_thread(void *(*run)(void *)) {
    pthread_t thread;
    int error = pthread_create(&thread, NULL, run, NULL);
    if (error != 0)
        report_fail("pthread_create", error, "cannot start a thread");
    return thread;
}

/* Starts the threads that work besides this one, and confines all of them. */
static struct crew start_crew(void *(*coder)(void *)) {
    ring_create(options.max_bytes);
    (void)pthread_barrier_init(&meeting, NULL, 3);
    struct crew crew = {.coder = start_thread(coder), .hasher = start_thread(digest_thread)};
    (void)pthread_barrier_wait(&meeting);
    sandbox_seal();
    (void)pthread_barrier_wait(&meeting);
    return crew;
}

static void join_crew(struct crew crew) {
    (void)pthread_join(crew.coder, NULL);
    (void)pthread_join(crew.hasher, NULL);
}

static void report_tar(uint64_t entries) {
    char diff_id[DIGEST_TEXT_SIZE];
    digest_text(tar_digest, diff_id);
    report_string("diffId", diff_id);
    report_number("bytes", tar_bytes);
    report_number("entries", entries);
}

/* ---- modes ---- */

static void report_implied(const struct extract_result *result) {
    report_list_begin("implied");
    for (size_t i = 0; i < result->directory_count; i++)
        if (result->directories[i].implied)
            report_list_item(result->directories[i].path);
    report_list_end();
}

static void extract(void) {
    tar_digest = digest_open();
    int root = sandbox_enter(SANDBOX_DIRECTORY, DIRECTORY_FD, DIRECTORY_FD);
    struct crew crew = start_crew(decode_thread);
    struct extract_result result = extract_run((struct extract_options){
        .root = root, .overlay = options.overlay, .entry_limit = options.max_entries});
    join_crew(crew);
    report_begin();
    report_tar(result.entries);
    report_number("compressedBytes", decode_consumed());
    report_number("diskBytes", result.disk_bytes);
    report_number("rootXattrs", result.root_xattrs);
    report_number("ignoredXattrs", result.ignored_xattrs);
    report_bool("opaqueRoot", result.opaque_root);
    report_implied(&result);
    report_end();
}

static void pack(void) {
    tar_digest = digest_open();
    int root = sandbox_enter(SANDBOX_EMPTY, DIRECTORY_FD, DIRECTORY_FD);
    struct crew crew = start_crew(encode_thread);
    struct pack_result result = pack_run(root, options.overlay);
    join_crew(crew);
    report_begin();
    report_tar(result.entries);
    report_number("leftOut", result.left_out);
    report_end();
}

static void receive(void) {
    tar_digest = digest_open();
    receive_open((struct receive_options){.size = options.size,
                                          .idle_ms = options.idle_ms,
                                          .head = HEAD_FD,
                                          .connection = CONNECTION_FD,
                                          .pipe = PIPE_FD,
                                          .blob = BLOB_FD});
    sandbox_enter_bare();
    struct crew crew = start_crew(receive_thread);
    sandbox_seal_thread();
    struct receive_result result = receive_store();
    if (!result.reader_gone)
        join_crew(crew);
    char digest[DIGEST_TEXT_SIZE] = "";
    if (result.bytes == options.size)
        digest_text(tar_digest, digest);
    report_begin();
    report_string("digest", digest);
    report_number("bytes", result.bytes);
    report_number("errno", (uint64_t)result.error);
    report_bool("readerGone", result.reader_gone);
    report_end();
}

static void inherit(void) {
    int root = sandbox_enter(SANDBOX_DIRECTORY, DIRECTORY_FD, SOURCE_FD);
    sandbox_seal();
    inherit_run(root, SOURCE_FD);
    report_begin();
    report_end();
}

/* ---- command line ---- */

static uint64_t parse_number(const char *text) {
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || *text == '-')
        report_fail("arguments", EINVAL, "invalid number %s", text);
    return value;
}

/* A daemon that is killed must not leave anybody writing behind. */
static void live_with(pid_t parent) {
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent)
        _exit(1);
}

static void parse_options(int argc, char **argv) {
    static const struct option known[] = {
        {"parent", required_argument, NULL, 'p'},
        {"overlay", no_argument, NULL, 'o'},
        {"gzip", no_argument, NULL, 'z'},
        {"max-bytes", required_argument, NULL, 'b'},
        {"max-entries", required_argument, NULL, 'e'},
        {"size", required_argument, NULL, 's'},
        {"idle-ms", required_argument, NULL, 'i'},
        {NULL, 0, NULL, 0},
    };
    opterr = 0;
    for (int option; (option = getopt_long(argc, argv, "", known, NULL)) != -1;) {
        switch (option) {
        case 'p':
            live_with((pid_t)parse_number(optarg));
            break;
        case 'o':
            options.overlay = true;
            break;
        case 'z':
            options.gzip = true;
            break;
        case 'b':
            options.max_bytes = parse_number(optarg);
            break;
        case 'e':
            options.max_entries = parse_number(optarg);
            break;
        case 's':
            options.size = parse_number(optarg);
            break;
        case 'i':
            options.idle_ms = parse_number(optarg);
            break;
        default:
            report_fail("arguments", EINVAL, "unknown option");
        }
    }
}

int main(int argc, char **argv) {
    report_open(RECORD_FD);
    parse_options(argc, argv);
    const char *mode = optind < argc ? argv[optind] : "";
    if (strcmp(mode, "extract") == 0)
        extract();
    else if (strcmp(mode, "pack") == 0)
        pack();
    else if (strcmp(mode, "receive") == 0)
        receive();
    else if (strcmp(mode, "inherit") == 0)
        inherit();
    else
        report_fail("arguments", EINVAL, "unknown mode %s", mode);
    return 0;
}
