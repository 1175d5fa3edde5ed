#include "directories.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "report.h"

/* What the table may use in all; a layer of 100 000 directories needs about 10 MiB. */
enum { DIRECTORIES_MEMORY_LIMIT = 512 * 1024 * 1024 };

static struct directory *table; /* open addressing; an empty slot has no path */
static size_t table_size;       /* a power of two */
static size_t table_used;
static size_t table_memory;

static void account(size_t bytes) {
    table_memory += bytes;
    if (table_memory > DIRECTORIES_MEMORY_LIMIT)
        report_fail("mkdir", EOVERFLOW, "the layer has too many directories");
}

static void *checked(void *memory) {
    if (memory == NULL)
        report_fail("malloc", ENOMEM, "no memory for the table of directories");
    return memory;
}

/* FNV-1a with a seed that the archive's author cannot know (address space randomisation). */
static size_t hash(const char *path) {
    uint64_t value = 14695981039346656037u ^ (uint64_t)(uintptr_t)&table_used;
    for (; *path != '\0'; path++)
        value = (value ^ (unsigned char)*path) * 1099511628211u;
    return (size_t)(value ^ value >> 32);
}

static struct directory *slot_of(const char *path) {
    size_t i = hash(path) & (table_size - 1);
    while (table[i].path != NULL && strcmp(table[i].path, path) != 0)
        i = (i + 1) & (table_size - 1);
    return &table[i];
}

static void grow(void) {
    struct directory *old = table;
    size_t old_size = table_size;
    table_size = old_size == 0 ? 256 : old_size * 2;
    account((table_size - old_size) * sizeof *table);
    table = checked(calloc(table_size, sizeof *table));
    for (size_t i = 0; i < old_size; i++)
        if (old[i].path != NULL)
            *slot_of(old[i].path) = old[i];
    free(old);
}

struct directory *directories_put(const char *path, bool implied) {
    if (table_used * 4 >= table_size * 3)
        grow();
    struct directory *directory = slot_of(path);
    if (directory->path == NULL) {
        directory->path = checked(strdup(path));
        account(strlen(path) + 1);
        table_used++;
    }
    directory->implied = implied;
    free(directory->default_acl);
    directory->default_acl = NULL;
    directory->default_acl_length = 0;
    return directory;
}

void directories_set_default_acl(struct directory *directory, const uint8_t *value, size_t length) {
    free(directory->default_acl);
    account(length);
    directory->default_acl = checked(malloc(length + 1));
    memcpy(directory->default_acl, value, length);
    directory->default_acl_length = length;
}

static int by_path(const void *a, const void *b) {
    return strcmp(((const struct directory *)a)->path, ((const struct directory *)b)->path);
}

struct directory *directories_sorted(size_t *count) {
    size_t used = 0;
    for (size_t i = 0; i < table_size; i++)
        if (table[i].path != NULL)
            table[used++] = table[i];
    if (used > 0)
        qsort(table, used, sizeof *table, by_path);
    *count = used;
    return table;
}
