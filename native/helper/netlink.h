/* One rtnetlink request and its acknowledgement. */
#pragma once
#include <linux/rtnetlink.h>
#include <stddef.h>
#include <stdint.h>

#define NETLINK_BYTES 1024u
#define NETLINK_TEXT_BYTES 256u

struct netlink {
    union {
        struct nlmsghdr header;
        unsigned char bytes[NETLINK_BYTES];
    } request;
    char text[NETLINK_TEXT_BYTES]; /* what the kernel said about a refusal; empty if nothing */
};

/* Starts a request: NLM_F_REQUEST and NLM_F_ACK are added. Returns the family header, zeroed. */
void *netlink_begin(struct netlink *n, uint16_t type, uint16_t flags, size_t family_bytes);
void netlink_put(struct netlink *n, uint16_t type, const void *data, size_t len);
void netlink_put_str(struct netlink *n, uint16_t type, const char *text);
void netlink_put_u32(struct netlink *n, uint16_t type, uint32_t value);
/* A nested attribute: its end is told to netlink_nest_end. */
struct rtattr *netlink_nest(struct netlink *n, uint16_t type);
/* The same with a family header in front of what follows (VETH_INFO_PEER). */
struct rtattr *netlink_nest_with(struct netlink *n, uint16_t type, size_t header_bytes);
void netlink_nest_end(struct netlink *n, struct rtattr *nest);
/* Sends it in the present network namespace and waits for the answer: 0 or -errno. */
int netlink_send(struct netlink *n);
/* The index of a link and, if kind is given, its kind ("bridge", "" if it has none). Index or -errno. */
int netlink_find_link(const char *name, char *kind, size_t kind_size);
