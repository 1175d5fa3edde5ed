#include "report.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int report_fd = STDERR_FILENO;
static const char *report_current_entry;
static pthread_mutex_t report_lock = PTHREAD_MUTEX_INITIALIZER;

static char report_buffer[16 * 1024];
static size_t report_used;
static bool report_first_item;

void report_open(int fd) {
    report_fd = fd;
}

void report_entry(const char *path) {
    __atomic_store_n(&report_current_entry, path, __ATOMIC_RELEASE);
}

static void report_flush(void) {
    size_t sent = 0;
    while (sent < report_used) {
        ssize_t n = write(report_fd, report_buffer + sent, report_used - sent);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            _exit(1); /* nobody reads any more */
        sent += (size_t)n;
    }
    report_used = 0;
}

static void report_byte(char c) {
    if (report_used == sizeof report_buffer)
        report_flush();
    report_buffer[report_used++] = c;
}

static void report_text(const char *text) {
    for (; *text != '\0'; text++)
        report_byte(*text);
}

static void report_quoted(const char *value) {
    static const char hex[] = "0123456789abcdef";
    report_byte('"');
    for (; *value != '\0'; value++) {
        unsigned char c = (unsigned char)*value;
        if (c == '"' || c == '\\') {
            report_byte('\\');
            report_byte((char)c);
        } else if (c < 0x20 || c >= 0x7f) {
            report_text("\\u00");
            report_byte(hex[c >> 4]);
            report_byte(hex[c & 15]);
        } else {
            report_byte((char)c);
        }
    }
    report_byte('"');
}

static void report_key(const char *key) {
    report_byte(',');
    report_quoted(key);
    report_byte(':');
}

void report_string(const char *key, const char *value) {
    report_key(key);
    report_quoted(value);
}

void report_number(const char *key, uint64_t value) {
    char digits[24];
    (void)snprintf(digits, sizeof digits, "%llu", (unsigned long long)value);
    report_key(key);
    report_text(digits);
}

void report_bool(const char *key, bool value) {
    report_key(key);
    report_text(value ? "true" : "false");
}

void report_list_begin(const char *key) {
    report_key(key);
    report_byte('[');
    report_first_item = true;
}

void report_list_item(const char *value) {
    if (!report_first_item)
        report_byte(',');
    report_first_item = false;
    report_quoted(value);
}

void report_list_end(void) {
    report_byte(']');
}

void report_begin(void) {
    report_text("{\"ok\":true");
}

void report_end(void) {
    report_text("}\n");
    report_flush();
}

_Noreturn void report_fail(const char *operation, int error, const char *format, ...) {
    char message[512];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);

    (void)pthread_mutex_lock(&report_lock); /* never released: the process ends below */
    const char *entry = __atomic_load_n(&report_current_entry, __ATOMIC_ACQUIRE);
    report_used = 0;
    report_text("{\"ok\":false");
    report_string("operation", operation);
    if (entry != NULL)
        report_string("entry", entry);
    report_number("errno", error < 0 ? 0 : (uint64_t)error);
    const char *code = strerrorname_np(error);
    if (code != NULL)
        report_string("code", code);
    report_string("message", message);
    report_end();
    _exit(1);
}
