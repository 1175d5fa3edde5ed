#include "addon.h"

#include <cerrno>
#include <linux/bpf.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace podwright {
namespace {

long bpf(bpf_cmd command, bpf_attr &attributes) {
    return syscall(SYS_bpf, command, &attributes, sizeof attributes);
}

uint64_t address(const void *pointer) {
    return reinterpret_cast<uintptr_t>(pointer);
}

// bpfLoadCgroupDevice(instructions): Fd
Napi::Value load_cgroup_device(const Napi::CallbackInfo &info) {
    Args args(info);
    std::string code = args.bytes(0);
    if (!args.ok())
        return info.Env().Undefined();
    if (code.empty() || code.size() % sizeof(bpf_insn) != 0)
        return throw_failure(info.Env(), {"bpf", EINVAL, "BPF_PROG_LOAD"});
    bpf_attr attributes = {};
    attributes.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE;
    attributes.insns = address(code.data());
    attributes.insn_cnt = static_cast<uint32_t>(code.size() / sizeof(bpf_insn));
    attributes.license = address("Apache-2.0");
    attributes.expected_attach_type = BPF_CGROUP_DEVICE;
    long fd = bpf(BPF_PROG_LOAD, attributes);
    if (fd < 0)
        return throw_errno(info.Env(), "bpf", "BPF_PROG_LOAD");
    return Napi::Number::New(info.Env(), static_cast<double>(fd));
}

// bpfAttachCgroupDevice(cgroupFd, programFd, replaceFd (-1: none))
Napi::Value attach_cgroup_device(const Napi::CallbackInfo &info) {
    Args args(info);
    bpf_attr attributes = {};
    attributes.attach_type = BPF_CGROUP_DEVICE;
    attributes.attach_flags = BPF_F_ALLOW_MULTI;
    attributes.target_fd = static_cast<uint32_t>(args.fd(0));
    attributes.attach_bpf_fd = static_cast<uint32_t>(args.fd(1));
    int replaced = args.fd(2);
    if (replaced >= 0) {
        attributes.attach_flags |= BPF_F_REPLACE;
        attributes.replace_bpf_fd = static_cast<uint32_t>(replaced);
    }
    if (args.ok() && bpf(BPF_PROG_ATTACH, attributes) < 0)
        return throw_errno(info.Env(), "bpf", "BPF_PROG_ATTACH");
    return info.Env().Undefined();
}

Napi::Value detach_cgroup_device(const Napi::CallbackInfo &info) {
    Args args(info);
    bpf_attr attributes = {};
    attributes.attach_type = BPF_CGROUP_DEVICE;
    attributes.target_fd = static_cast<uint32_t>(args.fd(0));
    attributes.attach_bpf_fd = static_cast<uint32_t>(args.fd(1));
    if (args.ok() && bpf(BPF_PROG_DETACH, attributes) < 0)
        return throw_errno(info.Env(), "bpf", "BPF_PROG_DETACH");
    return info.Env().Undefined();
}

// The kernel's own limit of programs on one cgroup (BPF_CGROUP_MAX_PROGS).
constexpr uint32_t MAX_PROGRAMS = 64;

long program_by_id(uint32_t id) {
    bpf_attr attributes = {};
    attributes.prog_id = id;
    return bpf(BPF_PROG_GET_FD_BY_ID, attributes);
}

// bpfQueryCgroupDevice(cgroupFd): Fd[]
Napi::Value query_cgroup_device(const Napi::CallbackInfo &info) {
    Args args(info);
    uint32_t ids[MAX_PROGRAMS] = {};
    bpf_attr attributes = {};
    attributes.query.target_fd = static_cast<uint32_t>(args.fd(0));
    attributes.query.attach_type = BPF_CGROUP_DEVICE;
    attributes.query.prog_ids = address(ids);
    attributes.query.prog_cnt = MAX_PROGRAMS;
    if (!args.ok())
        return info.Env().Undefined();
    if (bpf(BPF_PROG_QUERY, attributes) < 0)
        return throw_errno(info.Env(), "bpf", "BPF_PROG_QUERY");
    std::vector<UniqueFd> programs;
    for (uint32_t i = 0; i < attributes.query.prog_cnt; i++) {
        long fd = program_by_id(ids[i]);
        // ENOENT: detached and freed between the two calls.
        if (fd < 0 && errno == ENOENT)
            continue;
        if (fd < 0)
            return throw_errno(info.Env(), "bpf", "BPF_PROG_GET_FD_BY_ID");
        programs.emplace_back(static_cast<int>(fd));
    }
    Napi::Array result = Napi::Array::New(info.Env(), programs.size());
    for (uint32_t i = 0; i < programs.size(); i++)
        result.Set(i, programs[i].release());
    return result;
}

} // namespace

void define_bpf(Napi::Object exports) {
    define<load_cgroup_device>(exports, "bpfLoadCgroupDevice");
    define<attach_cgroup_device>(exports, "bpfAttachCgroupDevice");
    define<detach_cgroup_device>(exports, "bpfDetachCgroupDevice");
    define<query_cgroup_device>(exports, "bpfQueryCgroupDevice");
}

} // namespace podwright
