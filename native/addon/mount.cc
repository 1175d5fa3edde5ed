#include "addon.h"

#include <cerrno>
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace podwright {
namespace {

// mount(source, target, type, flags, data?)
Napi::Value mount_(const Napi::CallbackInfo &info) {
    Args args(info);
    std::string source = args.text(0);
    std::string target = args.text(1);
    std::string type = args.text(2);
    unsigned long flags = static_cast<unsigned long>(args.integer(3));
    std::optional<std::string> data = args.optional_text(4);
    if (args.ok() &&
        mount(source.c_str(), target.c_str(), type.c_str(), flags, data ? data->c_str() : nullptr) < 0)
        return throw_errno(info.Env(), "mount", target);
    return info.Env().Undefined();
}

Napi::Value umount_(const Napi::CallbackInfo &info) {
    Args args(info);
    std::string target = args.text(0);
    int flags = static_cast<int>(args.integer(1));
    if (args.ok() && umount2(target.c_str(), flags) < 0)
        return throw_errno(info.Env(), "umount2", target);
    return info.Env().Undefined();
}

Napi::Value fsopen_(const Napi::CallbackInfo &info) {
    Args args(info);
    std::string type = args.text(0);
    if (!args.ok())
        return info.Env().Undefined();
    int fd = fsopen(type.c_str(), FSOPEN_CLOEXEC);
    if (fd < 0)
        return throw_errno(info.Env(), "fsopen", type);
    return Napi::Number::New(info.Env(), fd);
}

Napi::Value fsconfig_set(const Napi::CallbackInfo &info) {
    Args args(info);
    int fd = args.fd(0);
    std::string key = args.text(1);
    std::optional<std::string> value = args.optional_text(2);
    if (!args.ok())
        return info.Env().Undefined();
    int result = value ? fsconfig(fd, FSCONFIG_SET_STRING, key.c_str(), value->c_str(), 0)
                       : fsconfig(fd, FSCONFIG_SET_FLAG, key.c_str(), nullptr, 0);
    if (result < 0)
        return throw_errno(info.Env(), "fsconfig", key);
    return info.Env().Undefined();
}

// fsconfigSetFd(fsFd, key, fd)
Napi::Value fsconfig_set_fd(const Napi::CallbackInfo &info) {
    Args args(info);
    int fd = args.fd(0);
    std::string key = args.text(1);
    int value = args.fd(2);
    if (args.ok() && fsconfig(fd, FSCONFIG_SET_FD, key.c_str(), nullptr, value) < 0)
        return throw_errno(info.Env(), "fsconfig", key);
    return info.Env().Undefined();
}

Napi::Value fsconfig_create(const Napi::CallbackInfo &info) {
    Args args(info);
    int fd = args.fd(0);
    if (args.ok() && fsconfig(fd, FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) < 0)
        return throw_errno(info.Env(), "fsconfig");
    return info.Env().Undefined();
}

Napi::Value fsmount_(const Napi::CallbackInfo &info) {
    Args args(info);
    int fd = args.fd(0);
    unsigned attributes = static_cast<unsigned>(args.integer(1));
    if (!args.ok())
        return info.Env().Undefined();
    int mount_fd = fsmount(fd, FSMOUNT_CLOEXEC, attributes);
    if (mount_fd < 0)
        return throw_errno(info.Env(), "fsmount");
    return Napi::Number::New(info.Env(), mount_fd);
}

Napi::Value open_tree_(const Napi::CallbackInfo &info) {
    Args args(info);
    int directory = args.fd(0);
    std::string path = args.text(1);
    unsigned flags = static_cast<unsigned>(args.integer(2)) | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC;
    if (!args.ok())
        return info.Env().Undefined();
    int fd = open_tree(directory, path.c_str(), flags);
    if (fd < 0)
        return throw_errno(info.Env(), "open_tree", path);
    return Napi::Number::New(info.Env(), fd);
}

// moveMount(fromFd, toDirFd, toPath): onto the descriptor itself if toPath is empty.
Napi::Value move_mount_(const Napi::CallbackInfo &info) {
    Args args(info);
    int from = args.fd(0);
    int to = args.fd(1);
    std::string path = args.text(2);
    unsigned flags = MOVE_MOUNT_F_EMPTY_PATH | (path.empty() ? MOVE_MOUNT_T_EMPTY_PATH : 0u);
    if (args.ok() && move_mount(from, "", to, path.c_str(), flags) < 0)
        return throw_errno(info.Env(), "move_mount", path);
    return info.Env().Undefined();
}

// mountSetattr(fd, flags, set, clear, propagation, userNsFd (-1: none)): of the mount behind the descriptor.
Napi::Value mount_setattr_(const Napi::CallbackInfo &info) {
    Args args(info);
    int fd = args.fd(0);
    unsigned flags = static_cast<unsigned>(args.integer(1)) | AT_EMPTY_PATH;
    mount_attr attributes = {};
    attributes.attr_set = static_cast<uint64_t>(args.integer(2));
    attributes.attr_clr = static_cast<uint64_t>(args.integer(3));
    attributes.propagation = static_cast<uint64_t>(args.integer(4));
    int user_namespace = args.fd(5);
    if (user_namespace >= 0)
        attributes.userns_fd = static_cast<uint64_t>(user_namespace);
    if (args.ok() && mount_setattr(fd, "", flags, &attributes, sizeof attributes) < 0)
        return throw_errno(info.Env(), "mount_setattr");
    return info.Env().Undefined();
}

} // namespace

void define_mount(Napi::Object exports) {
    define<mount_>(exports, "mount");
    define<umount_>(exports, "umount");
    define<fsopen_>(exports, "fsopen");
    define<fsconfig_set>(exports, "fsconfigSet");
    define<fsconfig_set_fd>(exports, "fsconfigSetFd");
    define<fsconfig_create>(exports, "fsconfigCreate");
    define<fsmount_>(exports, "fsmount");
    define<open_tree_>(exports, "openTree");
    define<move_mount_>(exports, "moveMount");
    define<mount_setattr_>(exports, "mountSetattr");
}

} // namespace podwright
