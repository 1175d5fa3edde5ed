#include "ring.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>

#include "report.h"

static pthread_mutex_t ring_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t ring_moved = PTHREAD_COND_INITIALIZER;
static uint8_t *ring_memory;
static size_t ring_lengths[RING_CHUNKS];
static uint64_t ring_published;
static uint64_t ring_taken[RING_READERS];    /* chunks handed out */
static uint64_t ring_released[RING_READERS]; /* chunks given back */
static bool ring_ended;

/* The writer's own. */
static uint8_t *ring_open; /* the chunk being filled */
static size_t ring_open_used;
static uint64_t ring_total, ring_limit;

void ring_create(uint64_t limit) {
    ring_limit = limit;
    ring_memory = mmap(NULL, (size_t)RING_CHUNKS * RING_CHUNK_SIZE, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (ring_memory == MAP_FAILED)
        report_fail("mmap", errno, "no memory for the buffers");
}

static uint8_t *ring_chunk(uint64_t index) {
    return ring_memory + (index % RING_CHUNKS) * RING_CHUNK_SIZE;
}

static bool ring_full(void) {
    for (int i = 0; i < RING_READERS; i++)
        if (ring_published - ring_released[i] >= RING_CHUNKS)
            return true;
    return false;
}

static uint8_t *reserve(void) {
    (void)pthread_mutex_lock(&ring_lock);
    while (ring_full())
        (void)pthread_cond_wait(&ring_moved, &ring_lock);
    uint8_t *chunk = ring_chunk(ring_published);
    (void)pthread_mutex_unlock(&ring_lock);
    return chunk;
}

static void publish(void) {
    (void)pthread_mutex_lock(&ring_lock);
    ring_lengths[ring_published % RING_CHUNKS] = ring_open_used;
    ring_published++;
    (void)pthread_cond_broadcast(&ring_moved);
    (void)pthread_mutex_unlock(&ring_lock);
    ring_open = NULL;
    ring_open_used = 0;
}

uint8_t *ring_room(size_t *size) {
    if (ring_open != NULL && ring_open_used == RING_CHUNK_SIZE)
        publish();
    if (ring_open == NULL)
        ring_open = reserve();
    *size = RING_CHUNK_SIZE - ring_open_used;
    return ring_open + ring_open_used;
}

void ring_add(size_t length) {
    ring_open_used += length;
    ring_total += length;
    if (ring_limit != 0 && ring_total > ring_limit)
        report_fail("read archive", EOVERFLOW, "larger than %llu bytes", (unsigned long long)ring_limit);
}

void ring_copy(const void *data, size_t length) {
    while (length > 0) {
        size_t size;
        uint8_t *room = ring_room(&size);
        size_t n = length < size ? length : size;
        memcpy(room, data, n);
        ring_add(n);
        data = (const uint8_t *)data + n;
        length -= n;
    }
}

void ring_end(void) {
    if (ring_open_used > 0)
        publish();
    (void)pthread_mutex_lock(&ring_lock);
    ring_ended = true;
    (void)pthread_cond_broadcast(&ring_moved);
    (void)pthread_mutex_unlock(&ring_lock);
}

const uint8_t *ring_next(enum ring_reader reader, size_t *length) {
    (void)pthread_mutex_lock(&ring_lock);
    if (ring_released[reader] < ring_taken[reader]) {
        ring_released[reader] = ring_taken[reader];
        (void)pthread_cond_broadcast(&ring_moved);
    }
    while (ring_taken[reader] == ring_published && !ring_ended)
        (void)pthread_cond_wait(&ring_moved, &ring_lock);
    const uint8_t *chunk = NULL;
    if (ring_taken[reader] < ring_published) {
        chunk = ring_chunk(ring_taken[reader]);
        *length = ring_lengths[ring_taken[reader] % RING_CHUNKS];
        ring_taken[reader]++;
    }
    (void)pthread_mutex_unlock(&ring_lock);
    return chunk;
}
