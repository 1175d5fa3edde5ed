/* Steps of the network: links, addresses and routes by rtnetlink, in the process' own network namespace. */
#include "kernel.h"
#include "netlink.h"
#include "step.h"
#include <linux/if_addr.h>
#include <linux/if_bridge.h>
#include <linux/if_link.h>
#include <linux/veth.h>
#include <net/if.h>

/* A name the kernel would take (dev_valid_name); a longer one would be cut elsewhere. */
static const char *check_name(struct stage *s, const char *name) {
    size_t len = strlen(name);
    if (len == 0 || len >= IFNAMSIZ || strcmp(name, ".") == 0 || strcmp(name, "..") == 0 ||
        strpbrk(name, "/: \t\n\v\f\r"))
        step_fail_with(s, EINVAL, "rtnetlink", name);
    return name;
}

/* The kernel's sentence says more than the link's name, where there is one. */
_Noreturn static void fail_request(struct stage *s, const struct netlink *n, int error, const char *name) {
    char detail[NETLINK_TEXT_BYTES + IFNAMSIZ + 2] = "";
    strncat(detail, name, IFNAMSIZ);
    if (n->text[0]) {
        strcat(detail, ": ");
        strcat(detail, n->text);
    }
    step_fail_with(s, error, "rtnetlink", detail);
}

static int find_link(struct stage *s, const char *name) {
    int index = netlink_find_link(check_name(s, name), NULL, 0);
    if (index < 0)
        step_fail_with(s, index, "rtnetlink", name);
    return index;
}

static void put_mac(struct stage *s, struct netlink *n, const unsigned char *mac, uint32_t len) {
    if (len != 0 && len != 6)
        step_fail_with(s, EINVAL, "rtnetlink", "a hardware address has 6 bytes");
    if (len == 6)
        netlink_put(n, IFLA_ADDRESS, mac, len);
}

static void put_mtu(struct netlink *n, uint32_t mtu) {
    if (mtu != 0)
        netlink_put_u32(n, IFLA_MTU, mtu);
}

void step_link_veth(struct stage *s, struct plan_values *v) {
    const char *name = check_name(s, plan_str(v)), *peer = check_name(s, plan_str(v));
    uint32_t mac_len, peer_mac_len;
    const unsigned char *mac = plan_bytes(v, &mac_len), *peer_mac = plan_bytes(v, &peer_mac_len);
    uint32_t mtu = plan_u32(v);
    struct netlink n;
    netlink_begin(&n, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, sizeof(struct ifinfomsg));
    netlink_put_str(&n, IFLA_IFNAME, name);
    put_mac(s, &n, mac, mac_len);
    put_mtu(&n, mtu);
    struct rtattr *info = netlink_nest(&n, IFLA_LINKINFO);
    netlink_put_str(&n, IFLA_INFO_KIND, "veth");
    struct rtattr *data = netlink_nest(&n, IFLA_INFO_DATA);
    struct rtattr *other = netlink_nest_with(&n, VETH_INFO_PEER, sizeof(struct ifinfomsg));
    netlink_put_str(&n, IFLA_IFNAME, peer);
    put_mac(s, &n, peer_mac, peer_mac_len);
    put_mtu(&n, mtu);
    netlink_put_u32(&n, IFLA_NET_NS_PID, (uint32_t)s->child);
    netlink_nest_end(&n, other);
    netlink_nest_end(&n, data);
    netlink_nest_end(&n, info);
    int error = netlink_send(&n);
    if (error < 0)
        fail_request(s, &n, error, name);
}

void step_link_bridge(struct stage *s, struct plan_values *v) {
    const char *name = check_name(s, plan_str(v));
    uint32_t mac_len;
    const unsigned char *mac = plan_bytes(v, &mac_len);
    struct netlink n;
    netlink_begin(&n, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, sizeof(struct ifinfomsg));
    netlink_put_str(&n, IFLA_IFNAME, name);
    put_mac(s, &n, mac, mac_len);
    put_mtu(&n, plan_u32(v));
    struct rtattr *info = netlink_nest(&n, IFLA_LINKINFO);
    netlink_put_str(&n, IFLA_INFO_KIND, "bridge");
    netlink_nest_end(&n, info);
    int error = netlink_send(&n);
    if (error == -EEXIST) {
        char kind[16];
        error = netlink_find_link(name, kind, sizeof kind);
        if (error >= 0 && strcmp(kind, "bridge") != 0)
            step_fail_with(s, EEXIST, "rtnetlink", name);
    }
    if (error < 0)
        fail_request(s, &n, error, name);
}

static void set_hairpin(struct stage *s, int index, const char *name) {
    struct netlink n;
    struct ifinfomsg *link = netlink_begin(&n, RTM_SETLINK, 0, sizeof *link);
    link->ifi_family = AF_BRIDGE;
    link->ifi_index = index;
    unsigned char on = 1;
    struct rtattr *port = netlink_nest(&n, IFLA_PROTINFO);
    netlink_put(&n, IFLA_BRPORT_MODE, &on, sizeof on);
    netlink_nest_end(&n, port);
    int error = netlink_send(&n);
    if (error < 0)
        fail_request(s, &n, error, name);
}

enum { STATE_LEAVE, STATE_UP, STATE_DOWN };

void step_link_set(struct stage *s, struct plan_values *v) {
    const char *name = plan_str(v);
    uint32_t state = plan_u32(v);
    const char *master = plan_str(v);
    bool hairpin = plan_u32(v) != 0;
    int index = find_link(s, name);
    struct netlink n;
    struct ifinfomsg *link = netlink_begin(&n, RTM_NEWLINK, 0, sizeof *link);
    link->ifi_index = index;
    link->ifi_change = state == STATE_LEAVE ? 0 : IFF_UP;
    link->ifi_flags = state == STATE_UP ? IFF_UP : 0;
    if (master[0])
        netlink_put_u32(&n, IFLA_MASTER, (uint32_t)find_link(s, master));
    int error = netlink_send(&n);
    if (error < 0)
        fail_request(s, &n, error, name);
    if (hairpin)
        set_hairpin(s, index, name);
}

void step_link_delete(struct stage *s, struct plan_values *v) {
    const char *name = check_name(s, plan_str(v));
    struct netlink n;
    netlink_begin(&n, RTM_DELLINK, 0, sizeof(struct ifinfomsg));
    netlink_put_str(&n, IFLA_IFNAME, name);
    int error = netlink_send(&n);
    if (error < 0 && error != -ENODEV)
        fail_request(s, &n, error, name);
}

static uint8_t address_family(struct stage *s, uint32_t len, uint32_t prefix) {
    if ((len != 4 && len != 16) || prefix > len * 8)
        step_fail_with(s, EINVAL, "rtnetlink", "an address has 4 or 16 bytes");
    return len == 4 ? AF_INET : AF_INET6;
}

void step_address(struct stage *s, struct plan_values *v) {
    const char *name = plan_str(v);
    uint32_t len;
    const unsigned char *address = plan_bytes(v, &len);
    uint32_t prefix = plan_u32(v);
    struct netlink n;
    struct ifaddrmsg *message = netlink_begin(&n, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, sizeof *message);
    message->ifa_family = address_family(s, len, prefix);
    message->ifa_prefixlen = (uint8_t)prefix;
    message->ifa_index = (uint32_t)find_link(s, name);
    netlink_put(&n, IFA_LOCAL, address, len);
    netlink_put(&n, IFA_ADDRESS, address, len);
    if (len == 16) /* usable at once: nobody else on the link can have it */
        netlink_put_u32(&n, IFA_FLAGS, IFA_F_NODAD);
    if (len == 4 && prefix < 31) {
        uint32_t broadcast;
        memcpy(&broadcast, address, sizeof broadcast);
        broadcast |= __builtin_bswap32(0xffffffffu >> prefix);
        netlink_put_u32(&n, IFA_BROADCAST, broadcast);
    }
    int error = netlink_send(&n);
    if (error < 0 && error != -EEXIST)
        fail_request(s, &n, error, name);
}

void step_route(struct stage *s, struct plan_values *v) {
    const char *name = plan_str(v);
    uint32_t len, gateway_len;
    const unsigned char *destination = plan_bytes(v, &len);
    uint32_t prefix = plan_u32(v);
    const unsigned char *gateway = plan_bytes(v, &gateway_len);
    if (len == 0 && gateway_len == 0)
        step_fail_with(s, EINVAL, "rtnetlink", "a route has a destination or a gateway");
    if (len != 0 && gateway_len != 0 && len != gateway_len)
        step_fail_with(s, EINVAL, "rtnetlink", "destination and gateway are of different families");
    struct netlink n;
    struct rtmsg *route = netlink_begin(&n, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, sizeof *route);
    route->rtm_family = address_family(s, len ? len : gateway_len, prefix);
    route->rtm_dst_len = (uint8_t)prefix;
    route->rtm_table = RT_TABLE_MAIN;
    route->rtm_protocol = RTPROT_BOOT;
    route->rtm_scope = gateway_len ? RT_SCOPE_UNIVERSE : RT_SCOPE_LINK;
    route->rtm_type = RTN_UNICAST;
    if (len)
        netlink_put(&n, RTA_DST, destination, len);
    else if (prefix != 0)
        step_fail_with(s, EINVAL, "rtnetlink", "a default route has no prefix");
    if (gateway_len)
        netlink_put(&n, RTA_GATEWAY, gateway, gateway_len);
    netlink_put_u32(&n, RTA_OIF, (uint32_t)find_link(s, name));
    int error = netlink_send(&n);
    if (error < 0)
        fail_request(s, &n, error, name);
}
