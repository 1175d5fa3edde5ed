/* A rootfs built for one test program, and the usual steps of a container around it. Root only. */
#pragma once
#include "builder.h"

#define PARENT PLAN_LIST_PARENT
#define CHILD PLAN_LIST_CHILD
#define NONE PLAN_NO_SLOT

/* Slots of the usual steps. */
enum { ROOT_SLOT = 16, SCRATCH_SLOT = 17, OTHER_SLOT = 18 };

struct fixture {
    char base[64]; /* below it: layers/0 upper work merged host */
    int output;    /* read end of the command's standard output and error */
    struct launch launch;
    char text[65536]; /* what the command printed */
};

/* Makes the directories and a layer with /bin/probe in it. False, with a skip line, without root. */
bool fixture_make(struct fixture *f);
/* KEEP=1 in the environment leaves it and says where. */
void fixture_remove(struct fixture *f);
/* base/name, in a buffer that the next four calls leave alone. */
const char *fixture_path(const struct fixture *f, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void fixture_mkdir(const struct fixture *f, const char *name);
void fixture_write(const struct fixture *f, const char *name, const char *content);

/* Fresh standard streams in the launch's slots. */
void fixture_streams(struct fixture *f);
/* Reads what the command printed so far, to the end of the pipe. */
void fixture_read(struct fixture *f);
/* Whether the output has this line. */
bool fixture_printed(const struct fixture *f, const char *line);

/* The overlay, the clone and everything up to an attached, private rootfs. */
void add_rootfs(struct builder *b, const struct fixture *f, uint64_t clone_flags);
/* proc, dev with its devices, devpts, mqueue, shm, sysfs. */
void add_mounts(struct builder *b);
void add_pivot(struct builder *b);
/* STDIO and EXEC of the probe; the arguments end in NULL. */
void add_probe(struct builder *b, ...);
void add_exec(struct builder *b, const char *const *argv);
/* fs-mount and move-mount below the rootfs. */
void add_file_system(struct builder *b, const char *type, const char *path, const char *const *options,
                     uint64_t attributes);

/* run with fresh streams, then reads what was printed. */
struct outcome fixture_run(struct fixture *f, struct builder *b);
/* Checks the exit code of a launch without error; shows the error if there is one. */
bool exited(const struct outcome *o, int code, const char *name);
/* Checks that a launch failed at a step of this kind with this errno. */
bool failed(const struct outcome *o, uint32_t kind, int errnum, const char *name);
