#pragma once

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The one record that every run writes to its record descriptor: a line of JSON.
 *
 *   {"ok":true, ...}
 *   {"ok":false,"operation":"link","entry":"etc/shadow","errno":2,"message":"hard link target does not
 * exist"}
 *
 * Names in a tar are bytes, JSON strings are characters: byte N is written as character N (latin1), so that
 * every name survives. Besides what a system call returned, errno says what kind of refusal it was: EBADMSG
 * the data is no valid layer, EXDEV an entry would leave the root, EOVERFLOW a limit was exceeded.
 */

/* The descriptor of the record. Until it is set, failures go to standard error. */
void report_open(int fd);

/* Names the entry that is being worked on, for every failure from now on; NULL outside of entries. */
void report_entry(const char *path);

/* Writes the failure and ends the process. The first of several failing threads wins. */
_Noreturn void report_fail(const char *operation, int error, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* A record under construction; the caller adds members after report_begin and ends with report_end. */
void report_begin(void);
void report_string(const char *key, const char *value);
void report_number(const char *key, uint64_t value);
void report_bool(const char *key, bool value);
void report_list_begin(const char *key);
void report_list_item(const char *value);
void report_list_end(void);
void report_end(void);
