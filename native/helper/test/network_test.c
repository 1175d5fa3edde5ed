/* Links, addresses and routes between two namespaces made for the test; the host's own network stays as it
 * is. */
#include "../kernel.h"
#include "fixture.h"
#include "tap.h"
#include <sched.h>
#include <sys/wait.h>

static struct fixture f;
static const unsigned char host4[] = {10, 213, 77, 1}, pod4[] = {10, 213, 77, 2}, no_bytes[1];
static const unsigned char host6[16] = {0xfd, 0x77, [15] = 1}, pod6[16] = {0xfd, 0x77, [15] = 2};
static const unsigned char mac[] = {0x02, 0, 0, 0x77, 0, 1};

static void add_link_up(struct builder *b, enum plan_list list, const char *name, const char *master,
                        unsigned hairpin) {
    add(b, list, PLAN_LINK_SET, "twtw", name, 1u, master, hairpin);
}

static void add_pod(struct builder *b) {
    add(b, PARENT, PLAN_LINK_BRIDGE, "tbw", "pwtestbr", mac, sizeof mac, 1400u);
    add(b, PARENT, PLAN_ADDRESS, "tbw", "pwtestbr", host4, sizeof host4, 24u);
    add(b, PARENT, PLAN_ADDRESS, "tbw", "pwtestbr", host6, sizeof host6, 64u);
    add_link_up(b, PARENT, "pwtestbr", "", 0);
    add(b, PARENT, PLAN_CLONE, "qs", (uint64_t)CLONE_NEWNET, NONE);
    add(b, PARENT, PLAN_LINK_VETH, "ttbbw", "pwtesthost", "eth0", no_bytes, (size_t)0, mac, sizeof mac,
        1400u);
    add_link_up(b, PARENT, "pwtesthost", "pwtestbr", 1);
    add(b, PARENT, PLAN_SYNC, "w", 1u);
    add(b, CHILD, PLAN_SYNC, "w", 1u);
    add_link_up(b, CHILD, "lo", "", 0);
    add(b, CHILD, PLAN_ADDRESS, "tbw", "eth0", pod4, sizeof pod4, 24u);
    add(b, CHILD, PLAN_ADDRESS, "tbw", "eth0", pod4, sizeof pod4, 24u);
    add(b, CHILD, PLAN_ADDRESS, "tbw", "eth0", pod6, sizeof pod6, 64u);
    add_link_up(b, CHILD, "eth0", "", 0);
    add(b, CHILD, PLAN_ROUTE, "tbwb", "eth0", no_bytes, (size_t)0, 0u, host4, sizeof host4);
    add(b, CHILD, PLAN_ROUTE, "tbwb", "eth0", no_bytes, (size_t)0, 0u, host6, sizeof host6);
    add(b, CHILD, PLAN_ROUTE, "tbwb", "eth0", (const unsigned char[]){10, 99, 0, 0}, (size_t)4, 16u, no_bytes,
        (size_t)0);
}

static void test_pod(void) {
    struct builder b = {0};
    const char *const look[] = {
        "/bin/sh", "-c",
        "cat /proc/net/route /proc/net/if_inet6 /proc/net/fib_trie /proc/net/ipv6_route; "
        "cat /sys/class/net/lo/operstate >/dev/null; ping -c 1 -W 2 10.213.77.1 2>&1; true",
        NULL};
    add_pod(&b), add(&b, CHILD, PLAN_STDIO, "ww", 0u, 0u), add_exec(&b, look);
    struct outcome o = fixture_run(&f, &b);
    exited(&o, 0, "a pod's network");
    ok(strstr(f.text, "eth0\t00000000\t014DD50A\t0003") != NULL, "its default route");
    ok(strstr(f.text, "eth0\t0000630A\t00000000\t0001") != NULL, "a route without gateway");
    ok(strstr(f.text, "fd770000000000000000000000000002") != NULL, "its IPv6 address");
    ok(strstr(f.text, "10.213.77.2") != NULL, "its IPv4 address");
    if (strstr(f.text, "not found"))
        skip("the bridge answers", "ping is not installed");
    if (tap_failed)
        printf("# %s\n", f.text);
    /* Once more: bridge and its addresses are there already. The veth goes with its namespace, but not at
     * once. */
    add(&b, PARENT, PLAN_LINK_DELETE, "t", "pwtesthost");
    add_pod(&b), add(&b, CHILD, PLAN_STDIO, "ww", 0u, 0u),
        add_exec(&b, (const char *const[]){"/bin/true", NULL});
    o = fixture_run(&f, &b);
    exited(&o, 0, "a second one on the same bridge");
}

static void test_refusals(void) {
    struct builder b = {0};
    struct outcome o;
    add(&b, PARENT, PLAN_LINK_BRIDGE, "tbw", "lo", no_bytes, (size_t)0, 0u);
    o = fixture_run(&f, &b);
    failed(&o, PLAN_LINK_BRIDGE, EEXIST, "a link of that name that is no bridge");
    static const char *const names[] = {"", "a/b", "name-with-16-char", "..", "a b", "a:1"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        add(&b, PARENT, PLAN_LINK_DELETE, "t", names[i]);
        o = fixture_run(&f, &b);
        failed(&o, PLAN_LINK_DELETE, EINVAL, "a name that no link can have");
    }
    add(&b, PARENT, PLAN_LINK_DELETE, "t", "pwtestnone");
    o = fixture_run(&f, &b);
    ok(o.error.type == 0, "a link that is gone may be deleted");
    add_link_up(&b, PARENT, "pwtestnone", "", 0);
    o = fixture_run(&f, &b);
    failed(&o, PLAN_LINK_SET, ENODEV, "but not set");
    ok(strncmp(o.error.text, "pwtestnone", 10) == 0, "the link is named");
    add(&b, PARENT, PLAN_ADDRESS, "tbw", "lo", host4, sizeof host4, 33u);
    o = fixture_run(&f, &b);
    failed(&o, PLAN_ADDRESS, EINVAL, "a prefix longer than the address");
    add(&b, PARENT, PLAN_ADDRESS, "tbw", "lo", host4, (size_t)3, 8u);
    o = fixture_run(&f, &b);
    failed(&o, PLAN_ADDRESS, EINVAL, "an address of 3 bytes");
    add(&b, PARENT, PLAN_ROUTE, "tbwb", "lo", host4, sizeof host4, 32u, host6, sizeof host6);
    o = fixture_run(&f, &b);
    failed(&o, PLAN_ROUTE, EINVAL, "a gateway of the other family");
    add(&b, PARENT, PLAN_ROUTE, "tbwb", "lo", no_bytes, (size_t)0, 0u, no_bytes, (size_t)0);
    o = fixture_run(&f, &b);
    failed(&o, PLAN_ROUTE, EINVAL, "a route to nowhere");
    add(&b, PARENT, PLAN_CLONE, "qs", (uint64_t)CLONE_NEWNET, NONE);
    add(&b, PARENT, PLAN_LINK_VETH, "ttbbw", "pwtestbr", "eth0", no_bytes, (size_t)0, no_bytes, (size_t)0,
        0u);
    add(&b, CHILD, PLAN_PAUSE, "");
    o = fixture_run(&f, &b);
    failed(&o, PLAN_LINK_VETH, EEXIST, "a veth whose name is taken");
}

static void test_cleanup(void) {
    struct builder b = {0};
    add(&b, PARENT, PLAN_LINK_DELETE, "t", "pwtestbr");
    struct outcome o = fixture_run(&f, &b);
    ok(o.error.type == 0 && access("/sys/class/net/pwtestbr", F_OK) < 0, "the bridge is deleted");
    show(&o);
}

int main(void) {
    /* In a network namespace of its own: /sys shows the host's links, so they are looked at through a new
     * one. */
    if (fixture_make(&f)) {
        if (unshare(CLONE_NEWNET | CLONE_NEWNS) < 0 ||
            mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
            mount("sysfs", "/sys", "sysfs", 0, NULL) < 0) {
            skip("networks", "no network namespace can be made here");
        } else {
            test_pod();
            test_refusals();
            test_cleanup();
        }
    }
    fixture_remove(&f);
    return tap_end();
}
