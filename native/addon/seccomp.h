#pragma once

#include <linux/filter.h>
#include <seccomp.h>

#include "addon.h"

namespace podwright {

struct SeccompRule {
    std::vector<std::string> names;
    uint32_t action = 0;
    std::vector<scmp_arg_cmp> conditions;
};

struct SeccompRequest {
    uint32_t default_action = 0;
    std::vector<uint32_t> architectures;
    std::vector<SeccompRule> rules;
};

// A system call that this libseccomp is too old to know, and what an unconditional rule says about it.
struct RecentCall {
    uint32_t number;
    uint32_t action;
};

// The number of a call newer than libseccomp 2.5.4 (Linux 5.17), the same on every architecture but MIPS; or
// -1.
int recent_call_number(const std::string &name);

// Instructions to go before the program: they decide the calls above the newest one that libseccomp knows, as
// `recent` says or else with `otherwise` (ENOSYS makes programs fall back to an older call). Everything else,
// and those too if there is no `otherwise`, falls through to the program.
std::vector<sock_filter> recent_calls_prologue(const std::vector<uint32_t> &architectures,
                                               const std::vector<RecentCall> &recent,
                                               std::optional<uint32_t> otherwise);

} // namespace podwright
