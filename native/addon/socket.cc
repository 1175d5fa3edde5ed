#include "addon.h"

#include <cerrno>
#include <cstring>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "seqpacket.h"

namespace podwright {
namespace {

Napi::Value seqpacket_pair(const Napi::CallbackInfo &info) {
    int fds[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0)
        return throw_errno(info.Env(), "socketpair");
    Napi::Array result = Napi::Array::New(info.Env(), 2);
    result.Set(0u, fds[0]);
    result.Set(1u, fds[1]);
    return result;
}

// Through /proc/self/fd the directory's own path does not count against the 108 bytes of sun_path.
bool address_of(int directory, const std::string &name, sockaddr_un &address) {
    const std::string path = "/proc/self/fd/" + std::to_string(directory) + "/" + name;
    address = {};
    address.sun_family = AF_UNIX;
    if (name.empty() || name.find('/') != std::string::npos) {
        errno = EINVAL;
        return false;
    }
    if (path.size() >= sizeof address.sun_path) {
        errno = ENAMETOOLONG;
        return false;
    }
    memcpy(address.sun_path, path.c_str(), path.size() + 1);
    return true;
}

// seqpacketConnect(dirFd, name): Fd
Napi::Value seqpacket_connect(const Napi::CallbackInfo &info) {
    Args args(info);
    int directory = args.fd(0);
    std::string name = args.text(1);
    if (!args.ok())
        return info.Env().Undefined();
    sockaddr_un address;
    if (!address_of(directory, name, address))
        return throw_errno(info.Env(), "connect", name);
    UniqueFd fd(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!fd)
        return throw_errno(info.Env(), "socket");
    if (connect(fd.get(), reinterpret_cast<const sockaddr *>(&address), sizeof address) < 0)
        return throw_errno(info.Env(), "connect", name);
    return Napi::Number::New(info.Env(), fd.release());
}

// seqpacketListen(dirFd, name): Fd
Napi::Value seqpacket_listen(const Napi::CallbackInfo &info) {
    Args args(info);
    int directory = args.fd(0);
    std::string name = args.text(1);
    if (!args.ok())
        return info.Env().Undefined();
    sockaddr_un address;
    if (!address_of(directory, name, address))
        return throw_errno(info.Env(), "bind", name);
    UniqueFd fd(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
    if (!fd)
        return throw_errno(info.Env(), "socket");
    if (bind(fd.get(), reinterpret_cast<const sockaddr *>(&address), sizeof address) < 0)
        return throw_errno(info.Env(), "bind", name);
    if (listen(fd.get(), SOMAXCONN) < 0)
        return throw_errno(info.Env(), "listen", name);
    return Napi::Number::New(info.Env(), fd.release());
}

// seqpacketOpen(fd, onPacket(data, fds), onClose(error?)): {id, pid, uid, gid}
Napi::Value seqpacket_open(const Napi::CallbackInfo &info) {
    Napi::Env env = info.Env();
    Args args(info);
    UniqueFd fd(args.fd(0));
    Napi::Function on_packet = args.function(1);
    Napi::Function on_close = args.function(2);
    if (!args.ok())
        return env.Undefined();
    ucred peer = {};
    socklen_t length = sizeof peer;
    int type = 0;
    socklen_t type_length = sizeof type;
    if (getsockopt(fd.get(), SOL_SOCKET, SO_TYPE, &type, &type_length) < 0 ||
        getsockopt(fd.get(), SOL_SOCKET, SO_PEERCRED, &peer, &length) < 0)
        return throw_errno(env, "getsockopt");
    if (type != SOCK_SEQPACKET)
        return throw_failure(env, {"getsockopt", EPROTOTYPE});
    auto *poller = new SeqpacketPoller(Addon::of(env), std::move(fd), on_packet, on_close);
    uint32_t id = Poller::start(poller, UV_READABLE, "poll");
    if (id == 0)
        return env.Undefined();
    Napi::Object result = Napi::Object::New(env);
    result.Set("id", id);
    result.Set("pid", peer.pid);
    result.Set("uid", peer.uid);
    result.Set("gid", peer.gid);
    return result;
}

// seqpacketSend(id, data, fds). The loader hands ids of sockets only to this function.
Napi::Value seqpacket_send(const Napi::CallbackInfo &info) {
    Napi::Env env = info.Env();
    Args args(info);
    auto *poller = dynamic_cast<SeqpacketPoller *>(Addon::of(env).find(args.id(0)));
    std::string data = args.bytes(1);
    std::vector<int> fds = args.fds(2);
    if (!args.ok())
        return env.Undefined();
    int error = poller ? poller->send(std::move(data), fds) : ENOTCONN;
    if (error != 0)
        return throw_failure(env, {"sendmsg", error});
    return env.Undefined();
}

// pollerClose(id): ends any handle of this addon; one that has ended already is left alone.
Napi::Value poller_close(const Napi::CallbackInfo &info) {
    Args args(info);
    Poller *poller = Addon::of(info.Env()).find(args.id(0));
    if (args.ok() && poller)
        poller->close();
    return info.Env().Undefined();
}

// pollerKeepAlive(id, alive)
Napi::Value poller_keep_alive(const Napi::CallbackInfo &info) {
    Args args(info);
    Poller *poller = Addon::of(info.Env()).find(args.id(0));
    bool alive = args.boolean(1);
    if (args.ok() && poller)
        poller->keep_alive(alive);
    return info.Env().Undefined();
}

// sendMessage(fd, data, fds): one sendmsg(2) on any connected unix socket.
Napi::Value send_message(const Napi::CallbackInfo &info) {
    Args args(info);
    int fd = args.fd(0);
    std::string data = args.bytes(1);
    std::vector<int> fds = args.fds(2);
    if (!args.ok())
        return info.Env().Undefined();
    if (fds.size() > MAX_PACKET_FDS)
        return throw_failure(info.Env(), {"sendmsg", EMSGSIZE});
    if (send_packet(fd, data, fds, MSG_DONTWAIT) < 0)
        return throw_errno(info.Env(), "sendmsg");
    return info.Env().Undefined();
}

// unixConnect(path): Fd of a connected SOCK_STREAM socket.
Napi::Value unix_connect(const Napi::CallbackInfo &info) {
    Args args(info);
    std::string path = args.text(0);
    if (!args.ok())
        return info.Env().Undefined();
    sockaddr_un address = {};
    address.sun_family = AF_UNIX;
    if (path.size() >= sizeof address.sun_path)
        return throw_failure(info.Env(), {"connect", ENAMETOOLONG, path});
    memcpy(address.sun_path, path.c_str(), path.size() + 1);
    UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!fd)
        return throw_errno(info.Env(), "socket");
    if (connect(fd.get(), reinterpret_cast<const sockaddr *>(&address), sizeof address) < 0)
        return throw_errno(info.Env(), "connect", path);
    return Napi::Number::New(info.Env(), fd.release());
}

} // namespace

void define_socket(Napi::Object exports) {
    define<seqpacket_pair>(exports, "seqpacketPair");
    define<seqpacket_connect>(exports, "seqpacketConnect");
    define<seqpacket_listen>(exports, "seqpacketListen");
    define<seqpacket_open>(exports, "seqpacketOpen");
    define<seqpacket_send>(exports, "seqpacketSend");
    define<poller_close>(exports, "pollerClose");
    define<poller_keep_alive>(exports, "pollerKeepAlive");
    define<send_message>(exports, "sendMessage");
    define<unix_connect>(exports, "unixConnect");
}

} // namespace podwright
