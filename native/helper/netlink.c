#include "netlink.h"
#include "kernel.h"
#include <linux/if_link.h>
#include <net/if.h>
#include <sys/socket.h>

static void *at_end(struct netlink *n) {
    return n->request.bytes + NLMSG_ALIGN(n->request.header.nlmsg_len);
}

/* Requests are of our own making and far below the buffer's size; one that is not must never run over it. */
static void *grow(struct netlink *n, size_t bytes) {
    unsigned char *at = at_end(n);
    if ((size_t)(at - n->request.bytes) + NLMSG_ALIGN(bytes) > NETLINK_BYTES)
        abort();
    memset(at, 0, NLMSG_ALIGN(bytes));
    n->request.header.nlmsg_len = (uint32_t)((size_t)(at - n->request.bytes) + bytes);
    return at;
}

void *netlink_begin(struct netlink *n, uint16_t type, uint16_t flags, size_t family_bytes) {
    memset(n, 0, sizeof *n);
    n->request.header.nlmsg_len = NLMSG_HDRLEN;
    n->request.header.nlmsg_type = type;
    n->request.header.nlmsg_flags = (uint16_t)(NLM_F_REQUEST | NLM_F_ACK | flags);
    return grow(n, family_bytes);
}

static struct rtattr *put_header(struct netlink *n, uint16_t type, size_t len) {
    struct rtattr *attribute = grow(n, RTA_LENGTH(len));
    attribute->rta_type = type;
    attribute->rta_len = (unsigned short)RTA_LENGTH(len);
    return attribute;
}

void netlink_put(struct netlink *n, uint16_t type, const void *data, size_t len) {
    struct rtattr *attribute = put_header(n, type, len);
    if (len > 0)
        memcpy(RTA_DATA(attribute), data, len);
}

void netlink_put_str(struct netlink *n, uint16_t type, const char *text) {
    netlink_put(n, type, text, strlen(text) + 1);
}

void netlink_put_u32(struct netlink *n, uint16_t type, uint32_t value) {
    netlink_put(n, type, &value, sizeof value);
}

struct rtattr *netlink_nest_with(struct netlink *n, uint16_t type, size_t header_bytes) {
    return put_header(n, type, header_bytes);
}

struct rtattr *netlink_nest(struct netlink *n, uint16_t type) {
    return put_header(n, (uint16_t)(type | NLA_F_NESTED), 0);
}

/* The nest's length counts the padding of its last attribute, so the message must hold it. */
void netlink_nest_end(struct netlink *n, struct rtattr *nest) {
    n->request.header.nlmsg_len = NLMSG_ALIGN(n->request.header.nlmsg_len);
    nest->rta_len = (unsigned short)((unsigned char *)at_end(n) - (unsigned char *)nest);
}

/* The kernel's sentence behind a refusal (NETLINK_EXT_ACK). */
static void take_text(struct netlink *n, const struct nlmsghdr *answer) {
    size_t skip = NLMSG_HDRLEN + NLMSG_ALIGN(sizeof(struct nlmsgerr));
    const struct nlmsgerr *e = (const struct nlmsgerr *)((const unsigned char *)answer + NLMSG_HDRLEN);
    if (!(answer->nlmsg_flags & NLM_F_CAPPED))
        skip += NLMSG_ALIGN(e->msg.nlmsg_len) - NLMSG_HDRLEN;
    if (!(answer->nlmsg_flags & NLM_F_ACK_TLVS) || skip >= answer->nlmsg_len)
        return;
    const unsigned char *at = (const unsigned char *)answer + skip;
    size_t left = answer->nlmsg_len - skip;
    while (left >= sizeof(struct rtattr)) {
        struct rtattr attribute;
        memcpy(&attribute, at, sizeof attribute);
        if (attribute.rta_len < sizeof attribute || attribute.rta_len > left)
            return;
        size_t len = attribute.rta_len - sizeof attribute;
        if ((attribute.rta_type & NLA_TYPE_MASK) == NLMSGERR_ATTR_MSG && len > 0) {
            len = len < NETLINK_TEXT_BYTES ? len : NETLINK_TEXT_BYTES - 1;
            memcpy(n->text, at + sizeof attribute, len);
            n->text[len] = 0;
        }
        size_t step = RTA_ALIGN(attribute.rta_len);
        at += step < left ? step : left;
        left -= step < left ? step : left;
    }
}

static int open_socket(void) {
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    int on = 1;
    if (fd < 0)
        return -errno;
    setsockopt(fd, SOL_NETLINK, NETLINK_EXT_ACK, &on, sizeof on);
    setsockopt(fd, SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof on);
    return fd;
}

/* One message of the answer: the length, or -errno. */
static ssize_t exchange(int fd, const struct nlmsghdr *request, void *answer, size_t size) {
    struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
    if (sendto(fd, request, request->nlmsg_len, 0, (struct sockaddr *)&kernel, sizeof kernel) < 0)
        return -errno;
    ssize_t n;
    do
        n = recv(fd, answer, size, 0);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n < (ssize_t)NLMSG_HDRLEN ? -EPROTO : n;
}

int netlink_send(struct netlink *n) {
    union {
        struct nlmsghdr header;
        unsigned char bytes[4096];
    } answer;
    cleanup_close int fd = open_socket();
    if (fd < 0)
        return fd;
    ssize_t len = exchange(fd, &n->request.header, &answer, sizeof answer);
    if (len < 0)
        return (int)len;
    if (answer.header.nlmsg_type != NLMSG_ERROR || answer.header.nlmsg_len > (size_t)len ||
        answer.header.nlmsg_len < NLMSG_LENGTH(sizeof(struct nlmsgerr)))
        return -EPROTO;
    take_text(n, &answer.header);
    return ((const struct nlmsgerr *)NLMSG_DATA(&answer.header))->error;
}

static void find_kind(const struct rtattr *info, char *kind, size_t size) {
    const struct rtattr *a = RTA_DATA(info);
    for (int left = (int)RTA_PAYLOAD(info); RTA_OK(a, left); a = RTA_NEXT(a, left))
        if (a->rta_type == IFLA_INFO_KIND) {
            size_t len = RTA_PAYLOAD(a) < size ? RTA_PAYLOAD(a) : size - 1;
            memcpy(kind, RTA_DATA(a), len);
            kind[len] = 0;
        }
}

int netlink_find_link(const char *name, char *kind, size_t kind_size) {
    struct netlink n;
    union {
        struct nlmsghdr header;
        unsigned char bytes[16384];
    } answer;
    cleanup_close int fd = open_socket();
    if (fd < 0)
        return fd;
    netlink_begin(&n, RTM_GETLINK, 0, sizeof(struct ifinfomsg));
    n.request.header.nlmsg_flags = NLM_F_REQUEST;
    netlink_put_str(&n, IFLA_IFNAME, name);
    netlink_put_u32(&n, IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
    ssize_t len = exchange(fd, &n.request.header, &answer, sizeof answer);
    if (len < 0)
        return (int)len;
    if (answer.header.nlmsg_type == NLMSG_ERROR && len >= (ssize_t)NLMSG_LENGTH(sizeof(int)))
        return ((const struct nlmsgerr *)NLMSG_DATA(&answer.header))->error;
    if (answer.header.nlmsg_type != RTM_NEWLINK || answer.header.nlmsg_len > (size_t)len ||
        answer.header.nlmsg_len < NLMSG_LENGTH(sizeof(struct ifinfomsg)))
        return -EPROTO;
    const struct ifinfomsg *link = NLMSG_DATA(&answer.header);
    if (!kind)
        return link->ifi_index;
    kind[0] = 0;
    const struct rtattr *a = IFLA_RTA(link);
    for (int left = (int)IFLA_PAYLOAD(&answer.header); RTA_OK(a, left); a = RTA_NEXT(a, left))
        if ((a->rta_type & NLA_TYPE_MASK) == IFLA_LINKINFO)
            find_kind(a, kind, kind_size);
    return link->ifi_index;
}
