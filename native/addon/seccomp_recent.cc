#include "seccomp.h"

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <iterator>
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <utility>

namespace podwright {

namespace {

struct NamedCall {
    const char *name;
    int number;
};

// include/uapi/asm-generic/unistd.h after set_mempolicy_home_node (450); since 424 all tables share their
// numbers.
constexpr NamedCall RECENT_CALLS[] = {
    {"cachestat", 451},         {"fchmodat2", 452},         {"map_shadow_stack", 453}, {"futex_wake", 454},
    {"futex_wait", 455},        {"futex_requeue", 456},     {"statmount", 457},        {"listmount", 458},
    {"lsm_get_self_attr", 459}, {"lsm_set_self_attr", 460}, {"lsm_list_modules", 461}, {"mseal", 462},
    {"setxattrat", 463},        {"getxattrat", 464},        {"listxattrat", 465},      {"removexattrat", 466},
    {"open_tree_attr", 467},    {"file_getattr", 468},      {"file_setattr", 469},
};

constexpr uint32_t X32_BIT = 0x40000000;

// Where an architecture's table starts (MIPS has one base per ABI), and how its numbers look for the filter.
uint32_t base_number(uint32_t architecture) {
    switch (architecture) {
    case SCMP_ARCH_X32:
        return X32_BIT;
    case SCMP_ARCH_MIPS:
    case SCMP_ARCH_MIPSEL:
        return 4000;
    case SCMP_ARCH_MIPS64:
    case SCMP_ARCH_MIPSEL64:
        return 5000;
    case SCMP_ARCH_MIPS64N32:
    case SCMP_ARCH_MIPSEL64N32:
        return 6000;
    default:
        return 0;
    }
}

bool known(uint32_t architecture, uint32_t number) {
    char *name = seccomp_syscall_resolve_num_arch(architecture, static_cast<int>(number));
    const bool found = name != nullptr;
    free(name);
    return found;
}

// x32 keeps its 36 own calls at 512 to 547, above the shared ones that grow towards them.
uint32_t newest_known(uint32_t architecture) {
    const uint32_t base = base_number(architecture);
    for (uint32_t number = base + (architecture == SCMP_ARCH_X32 ? 511 : 999); number > base; number--)
        if (known(architecture, number))
            return number;
    return 0;
}

// 32-bit ARM has private calls from 0x0f0000 on; nobody numbers ordinary ones that high.
uint32_t range_end(uint32_t architecture) {
    return base_number(architecture) + (architecture == SCMP_ARCH_X32 ? 511 : 0x0effff - 6000);
}

class Prologue {
  public:
    void load(uint32_t offset) {
        code_.push_back(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offset));
    }
    void answer(uint32_t action) {
        code_.push_back(BPF_STMT(BPF_RET | BPF_K, action));
    }
    // Skips the next `count` instructions unless (A `comparison` value).
    void skip_unless(uint16_t comparison, uint32_t value, size_t count) {
        code_.push_back(BPF_JUMP(BPF_JMP | comparison | BPF_K, value, 0, static_cast<uint8_t>(count)));
    }
    void skip_if(uint16_t comparison, uint32_t value, size_t count) {
        code_.push_back(BPF_JUMP(BPF_JMP | comparison | BPF_K, value, static_cast<uint8_t>(count), 0));
    }
    // For one architecture; the token of x32 in the kernel's data is that of x86_64.
    void add(uint32_t architecture, const std::vector<RecentCall> &recent,
             std::optional<uint32_t> otherwise) {
        const uint32_t newest = newest_known(architecture);
        const size_t answers = 2 * recent.size() + (otherwise ? 1 : 0);
        if (newest == 0 || answers == 0)
            return;
        load(offsetof(seccomp_data, arch));
        skip_unless(BPF_JEQ, architecture == SCMP_ARCH_X32 ? AUDIT_ARCH_X86_64 : architecture, answers + 3);
        load(offsetof(seccomp_data, nr));
        skip_unless(BPF_JGT, newest, answers + 1);
        skip_if(BPF_JGT, range_end(architecture), answers);
        for (const RecentCall &call : recent) {
            skip_unless(BPF_JEQ, base_number(architecture) + call.number, 1);
            answer(call.action);
        }
        if (otherwise)
            answer(*otherwise);
    }
    std::vector<sock_filter> take() {
        return std::move(code_);
    }

  private:
    std::vector<sock_filter> code_;
};

bool shares_numbers(uint32_t architecture) {
    return base_number(architecture) == 0 || architecture == SCMP_ARCH_X32;
}

} // namespace

int recent_call_number(const std::string &name) {
    const auto *found = std::find_if(std::begin(RECENT_CALLS), std::end(RECENT_CALLS),
                                     [&name](const NamedCall &call) { return name == call.name; });
    return found == std::end(RECENT_CALLS) ? -1 : found->number;
}

std::vector<sock_filter> recent_calls_prologue(const std::vector<uint32_t> &architectures,
                                               const std::vector<RecentCall> &recent,
                                               std::optional<uint32_t> otherwise) {
    Prologue prologue;
    for (uint32_t architecture : architectures)
        prologue.add(architecture, shares_numbers(architecture) ? recent : std::vector<RecentCall>(),
                     otherwise);
    return prologue.take();
}

} // namespace podwright
