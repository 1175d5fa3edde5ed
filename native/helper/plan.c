#include "plan.h"
#include <errno.h>
#include <string.h>

#define HEADER_BYTES 20u
#define STEP_BYTES 8u

enum { IN_PARENT = 1, IN_CHILD = 2, IN_BOTH = 3, AFTER_CLONE = 4 };

/* values: s slot, w u32, q u64, t str, b bytes, T strs, g u32 count and as many u32 */
struct kind_row {
    uint16_t kind;
    uint8_t where;
    const char *name, *values;
};

static const struct kind_row kinds[] = {
    {PLAN_OPEN, IN_BOTH, "open", "sstqqq"},
    {PLAN_WRITE, IN_BOTH, "write", "sb"},
    {PLAN_CLOSE, IN_BOTH, "close", "s"},
    {PLAN_OPEN_TREE, IN_BOTH, "open-tree", "sstw"},
    {PLAN_OPEN_TREE_IN, IN_BOTH, "open-tree-in", "sst"},
    {PLAN_FS_MOUNT, IN_BOTH, "fs-mount", "sttTq"},
    {PLAN_OVERLAY, IN_BOTH, "overlay", "stTttTq"},
    {PLAN_MOUNT_SETATTR, IN_BOTH, "mount-setattr", "swqqqs"},
    {PLAN_MOVE_MOUNT, IN_BOTH, "move-mount", "sstw"},
    {PLAN_UNMOUNT, IN_BOTH, "unmount", "stw"},
    {PLAN_MKDIR, IN_BOTH, "mkdir", "stwww"},
    {PLAN_SYMLINK, IN_BOTH, "symlink", "stt"},
    {PLAN_MAKE_DEVICE, IN_BOTH, "make-device", "stwwwww"},
    {PLAN_FILE, IN_BOTH, "file", "stwwwb"},
    {PLAN_IDMAPPED_OVERLAY, IN_PARENT, "idmapped-overlay", "stTttTqs"},
    {PLAN_SUB_TREE, IN_PARENT, "sub-tree", "st"},
    {PLAN_CLONE, IN_PARENT, "clone", "qs"},
    {PLAN_ID_MAP, IN_PARENT | AFTER_CLONE, "id-map", "ttw"},
    {PLAN_SYNC, IN_BOTH | AFTER_CLONE, "sync", "w"},
    {PLAN_PIN_NAMESPACE, IN_PARENT | AFTER_CLONE, "pin-namespace", "tt"},
    {PLAN_OOM_SCORE_ADJ, IN_PARENT | AFTER_CLONE, "oom-score-adj", "w"},
    {PLAN_OPEN_PID, IN_PARENT, "open-pid", "swq"},
    {PLAN_USER_NAMESPACE, IN_PARENT, "user-namespace", "stt"},
    {PLAN_STDIO_OWNER, IN_PARENT, "stdio-owner", "ww"},
    {PLAN_CHOWN, IN_PARENT, "chown", "tww"},
    {PLAN_UNSHARE, IN_CHILD, "unshare", "q"},
    {PLAN_JOIN, IN_CHILD, "join", "sq"},
    {PLAN_JOIN_PID, IN_CHILD, "join-pid", "s"},
    {PLAN_PROPAGATION, IN_CHILD, "propagation", "tq"},
    {PLAN_PIVOT_ROOT, IN_CHILD, "pivot-root", "sw"},
    {PLAN_HOSTNAME, IN_CHILD, "hostname", "t"},
    {PLAN_DOMAINNAME, IN_CHILD, "domainname", "t"},
    {PLAN_SYSCTL, IN_CHILD, "sysctl", "tt"},
    {PLAN_MASK, IN_CHILD, "mask", "st"},
    {PLAN_READ_ONLY, IN_CHILD, "read-only", "st"},
    {PLAN_COPY_UP, IN_CHILD, "copy-up", "sst"},
    {PLAN_LINK_VETH, IN_PARENT | AFTER_CLONE, "link-veth", "ttbbw"},
    {PLAN_LINK_BRIDGE, IN_BOTH, "link-bridge", "tbw"},
    {PLAN_LINK_SET, IN_BOTH, "link-set", "twtw"},
    {PLAN_LINK_DELETE, IN_BOTH, "link-delete", "t"},
    {PLAN_ADDRESS, IN_BOTH, "address", "tbw"},
    {PLAN_ROUTE, IN_BOTH, "route", "tbwb"},
    {PLAN_SETSID, IN_CHILD, "setsid", "w"},
    {PLAN_KEYRING, IN_CHILD, "keyring", "t"},
    {PLAN_RLIMIT, IN_CHILD, "rlimit", "wqq"},
    {PLAN_CAP_BOUNDING, IN_CHILD, "cap-bounding", "q"},
    {PLAN_USER, IN_CHILD, "user", "wwwg"},
    {PLAN_CAPABILITIES, IN_CHILD, "capabilities", "qqqq"},
    {PLAN_NO_NEW_PRIVS, IN_CHILD, "no-new-privs", ""},
    {PLAN_SECCOMP, IN_CHILD, "seccomp", "wbsb"},
    {PLAN_APPARMOR, IN_CHILD, "apparmor", "t"},
    {PLAN_SELINUX, IN_CHILD, "selinux", "t"},
    {PLAN_CHDIR, IN_CHILD, "chdir", "tw"},
    {PLAN_STDIO, IN_CHILD, "stdio", "ww"},
    {PLAN_CONSOLE, IN_CHILD, "console", "wwww"},
    {PLAN_EXEC_FIFO, IN_CHILD, "exec-fifo", ""},
    {PLAN_EXEC, IN_CHILD, "exec", "wTT"},
    {PLAN_PAUSE, IN_CHILD, "pause", ""},
    {PLAN_PARENT_DEATH_SIGNAL, IN_CHILD, "parent-death-signal", "w"},
};

static uint32_t load_u16(const unsigned char *at) {
    uint16_t value;
    memcpy(&value, at, sizeof value);
    return value;
}

static uint32_t load_u32(const unsigned char *at) {
    uint32_t value;
    memcpy(&value, at, sizeof value);
    return value;
}

static const struct kind_row *find_kind(uint32_t kind) {
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (kinds[i].kind == kind)
            return &kinds[i];
    return NULL;
}

const char *plan_kind_name(uint32_t kind) {
    const struct kind_row *row = find_kind(kind);
    return row ? row->name : "unknown";
}

/* ---- checking ---- */

struct remaining {
    const unsigned char *at;
    size_t left;
};

static bool take(struct remaining *r, size_t bytes) {
    if (r->left < bytes)
        return false;
    r->at += bytes;
    r->left -= bytes;
    return true;
}

static bool take_u32(struct remaining *r, uint32_t *value) {
    if (r->left < 4)
        return false;
    *value = load_u32(r->at);
    return take(r, 4);
}

/* Length, bytes, zero padding to 4. */
static bool take_bytes(struct remaining *r, const unsigned char **bytes, uint32_t *len) {
    if (!take_u32(r, len) || *len > r->left)
        return false;
    *bytes = r->at;
    size_t padding = -(size_t)*len & 3u;
    if (!take(r, *len) || r->left < padding)
        return false;
    for (size_t i = 0; i < padding; i++)
        if (r->at[i] != 0)
            return false;
    return take(r, padding);
}

static bool take_str(struct remaining *r) {
    const unsigned char *bytes;
    uint32_t len;
    return take_bytes(r, &bytes, &len) && len > 0 && memchr(bytes, 0, len) == bytes + len - 1;
}

static bool take_strs(struct remaining *r) {
    uint32_t count;
    if (!take_u32(r, &count) || count > r->left / 8)
        return false;
    for (uint32_t i = 0; i < count; i++)
        if (!take_str(r))
            return false;
    return true;
}

/* NULL, or what is wrong. */
static const char *check_value(struct remaining *r, char type) {
    const unsigned char *bytes;
    uint32_t number;
    switch (type) {
    case 's':
        if (!take_u32(r, &number))
            return "a value runs past the end of its step";
        return number < PLAN_MAX_SLOTS || number == PLAN_NO_SLOT ? NULL : "a slot number is out of range";
    case 'w':
        return take(r, 4) ? NULL : "a value runs past the end of its step";
    case 'q':
        return take(r, 8) ? NULL : "a value runs past the end of its step";
    case 'b':
        return take_bytes(r, &bytes, &number) ? NULL : "malformed bytes";
    case 't':
        return take_str(r) ? NULL : "malformed string";
    case 'T':
        return take_strs(r) ? NULL : "malformed list of strings";
    default: /* 'g' */
        return take_u32(r, &number) && number <= r->left / 4 && take(r, (size_t)number * 4)
                   ? NULL
                   : "malformed list";
    }
}

/* What the order of steps has shown so far. */
struct order {
    bool cloned, away, joined_pid, fifo, last;
    const unsigned char *sync; /* where the child looks for the next SYNC among the parent's steps */
    uint32_t sync_left;
};

static const char *check_parent_order(struct order *o, uint32_t kind, uint8_t where) {
    if ((where & AFTER_CLONE) && !o->cloned)
        return "the step needs a child, and there is none yet";
    if (kind == PLAN_CLONE) {
        if (o->cloned)
            return "a second clone";
        o->cloned = true;
    }
    return NULL;
}

static bool next_parent_sync(struct order *o, uint32_t *token) {
    while (o->sync_left > 0) {
        struct plan_step parent = plan_step_at(o->sync);
        o->sync = parent.end;
        o->sync_left--;
        if (parent.kind == PLAN_SYNC) {
            *token = load_u32(parent.payload);
            return true;
        }
    }
    return false;
}

/* Both sides wait for each other: another order would never end. */
static const char *check_child_sync(struct order *o, uint32_t token) {
    uint32_t parent;
    if (!next_parent_sync(o, &parent))
        return "a sync that the parent list does not have";
    return parent == token ? NULL : "sync tokens differ between the lists";
}

static const char *check_child_order(struct order *o, const struct plan_step *step) {
    struct plan_values v = {step->payload};
    if (o->last)
        return "a step after the process became its command";
    switch (step->kind) {
    case PLAN_SYNC:
        return o->joined_pid || o->fifo ? "a sync where the launcher has already ended"
                                        : check_child_sync(o, plan_u32(&v));
    case PLAN_PIVOT_ROOT:
        o->away = true;
        return NULL;
    case PLAN_JOIN: {
        plan_u32(&v);
        uint64_t flags = plan_u64(&v);
        /* CLONE_NEWNS; or CLONE_NEWUSER: nobody in there has rights over our memory, which is the host's user
         * namespace', so nobody may look through a process that is not dumpable. */
        o->away = o->away || (flags & (0x00020000u | 0x10000000u));
        return flags & 0x20000000u /* CLONE_NEWPID */ ? "a pid namespace is joined with join-pid" : NULL;
    }
    case PLAN_JOIN_PID:
        if (o->joined_pid)
            return "a second join-pid";
        o->joined_pid = true;
        return o->away ? NULL : "a pid namespace of others is joined only outside the host's mount namespace";
    case PLAN_EXEC_FIFO:
        if (o->fifo)
            return "a second exec-fifo";
        o->fifo = true;
        return NULL;
    case PLAN_EXEC:
    case PLAN_PAUSE:
        o->last = true;
        return NULL;
    default:
        return NULL;
    }
}

/* One step at r->at. */
static const char *check_step(struct remaining *r, enum plan_list list, struct order *order, uint32_t *kind) {
    if (r->left < STEP_BYTES)
        return "the list ends in the middle of a step";
    uint32_t flags = load_u16(r->at + 2), len = load_u32(r->at + 4);
    *kind = load_u16(r->at);
    const struct kind_row *row = find_kind(*kind);
    if (!row)
        return "unknown kind of step";
    if (!(row->where & (list == PLAN_LIST_PARENT ? IN_PARENT : IN_CHILD)))
        return "the step does not belong in this list";
    if (flags & ~(*kind == PLAN_USER || *kind == PLAN_CONSOLE ? 1u : 0u))
        return "unknown flags";
    if (len % 4 != 0 || len > r->left - STEP_BYTES)
        return "a step runs past the end of the plan";
    struct remaining payload = {r->at + STEP_BYTES, len};
    for (const char *type = row->values; *type; type++) {
        const char *problem = check_value(&payload, *type);
        if (problem)
            return problem;
    }
    if (payload.left != 0)
        return "bytes behind the values of a step";
    struct plan_step step = plan_step_at(r->at);
    take(r, STEP_BYTES + len);
    return list == PLAN_LIST_PARENT ? check_parent_order(order, *kind, row->where)
                                    : check_child_order(order, &step);
}

static int refuse(struct plan_view *out, const char *problem) {
    out->problem = problem;
    return -EINVAL;
}

static int check_lists(struct remaining *r, struct plan_view *out) {
    struct order order = {0};
    for (uint32_t list = 0; list < 2; list++) {
        out->lists[list] = r->at;
        if (list == PLAN_LIST_CHILD) {
            order.sync = out->lists[PLAN_LIST_PARENT];
            order.sync_left = out->counts[PLAN_LIST_PARENT];
        }
        for (uint32_t i = 0; i < out->counts[list]; i++) {
            out->problem_list = list;
            out->problem_index = i;
            const char *problem = check_step(r, (enum plan_list)list, &order, &out->problem_kind);
            if (problem)
                return refuse(out, problem);
        }
    }
    out->problem_kind = 0;
    if (r->left != 0)
        return refuse(out, "bytes behind the last step");
    if (order.cloned != (out->counts[PLAN_LIST_CHILD] > 0))
        return refuse(out, order.cloned ? "a clone without child steps" : "child steps without a clone");
    uint32_t token;
    if (next_parent_sync(&order, &token))
        return refuse(out, "a sync that the child list does not have");
    return 0;
}

int plan_check(const unsigned char *plan, size_t len, struct plan_view *out) {
    *out = (struct plan_view){0};
    if (len < HEADER_BYTES || load_u32(plan) != PLAN_MAGIC)
        return refuse(out, "not a launch plan");
    if (load_u16(plan + 4) != PLAN_VERSION || load_u16(plan + 6) != 0)
        return refuse(out, "unknown version of the plan format");
    uint32_t parents = load_u32(plan + 12), children = load_u32(plan + 16);
    if (len > PLAN_MAX_BYTES || parents > PLAN_MAX_STEPS || children > PLAN_MAX_STEPS - parents) {
        refuse(out, "the plan is too large");
        return -E2BIG;
    }
    if (load_u32(plan + 8) != len)
        return refuse(out, "the plan's length is not what its header says");
    out->counts[PLAN_LIST_PARENT] = parents;
    out->counts[PLAN_LIST_CHILD] = children;
    struct remaining r = {plan + HEADER_BYTES, len - HEADER_BYTES};
    return check_lists(&r, out);
}

/* ---- reading what has been checked ---- */

struct plan_step plan_step_at(const unsigned char *at) {
    const unsigned char *payload = at + STEP_BYTES;
    return (struct plan_step){load_u16(at), load_u16(at + 2), payload, payload + load_u32(at + 4)};
}

bool plan_has(const struct plan_view *view, enum plan_list list, uint32_t kind, uint32_t from) {
    const unsigned char *at = view->lists[list];
    for (uint32_t i = 0; i < view->counts[list]; i++) {
        struct plan_step step = plan_step_at(at);
        if (i >= from && step.kind == kind)
            return true;
        at = step.end;
    }
    return false;
}

uint32_t plan_u32(struct plan_values *v) {
    uint32_t value = load_u32(v->at);
    v->at += 4;
    return value;
}

uint64_t plan_u64(struct plan_values *v) {
    uint64_t value;
    memcpy(&value, v->at, sizeof value);
    v->at += 8;
    return value;
}

const char *plan_str(struct plan_values *v) {
    uint32_t len;
    return (const char *)plan_bytes(v, &len);
}

const unsigned char *plan_bytes(struct plan_values *v, uint32_t *len) {
    *len = plan_u32(v);
    const unsigned char *bytes = v->at;
    v->at += (*len + 3u) & ~3u;
    return bytes;
}
