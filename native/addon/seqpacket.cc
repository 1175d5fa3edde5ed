#include "seqpacket.h"

#include <cerrno>
#include <fcntl.h>
#include <memory>
#include <sys/socket.h>

namespace podwright {

namespace {

// A peer that stops reading must not make us hold memory and descriptors without end.
constexpr size_t MAX_QUEUED_BYTES = 8 << 20;
constexpr size_t MAX_QUEUED_PACKETS = 1024;

// After so many packets the other handles of the loop get their turn.
constexpr int PACKETS_PER_TURN = 32;

} // namespace

int SeqpacketPoller::send(std::string data, const std::vector<int> &fds) {
    // An empty packet looks like the end of the connection to its receiver.
    if (data.empty())
        return EINVAL;
    if (data.size() > MAX_PACKET_BYTES || fds.size() > MAX_PACKET_FDS)
        return EMSGSIZE;
    if (!queue_.empty())
        return enqueue(std::move(data), fds);
    if (send_packet(fd(), data, fds, MSG_DONTWAIT) >= 0)
        return 0;
    return errno == EAGAIN ? enqueue(std::move(data), fds) : errno;
}

// The caller may close its descriptors as soon as send() returns, so the queue holds copies.
int SeqpacketPoller::enqueue(std::string data, const std::vector<int> &fds) {
    if (queue_.size() >= MAX_QUEUED_PACKETS || queued_bytes_ + data.size() > MAX_QUEUED_BYTES)
        return ENOBUFS;
    Queued queued;
    for (int fd : fds) {
        UniqueFd copy(fcntl(fd, F_DUPFD_CLOEXEC, 3));
        if (!copy)
            return errno;
        queued.fds.push_back(std::move(copy));
    }
    queued_bytes_ += data.size();
    queued.data = std::move(data);
    queue_.push_back(std::move(queued));
    return -poll(UV_READABLE | UV_WRITABLE);
}

void SeqpacketPoller::flush() {
    while (!queue_.empty()) {
        const Queued &next = queue_.front();
        std::vector<int> fds;
        for (const UniqueFd &fd : next.fds)
            fds.push_back(fd.get());
        if (send_packet(fd(), next.data, fds, MSG_DONTWAIT) < 0) {
            // A connection that failed is ended by receive(), after the last packet has been read.
            if (errno == EAGAIN || errno == EPIPE || errno == ECONNRESET)
                break;
            return end(errno, "sendmsg");
        }
        queued_bytes_ -= next.data.size();
        queue_.pop_front();
    }
    if (queue_.empty())
        poll(UV_READABLE);
}

void SeqpacketPoller::ready(int status, int events) {
    if (status >= 0 && (events & UV_WRITABLE))
        flush();
    if (open())
        receive();
    // POLLERR stops the handle; if the socket still lives, its error has now been read and polling goes on.
    if (open() && status < 0) {
        int error = poll(queue_.empty() ? UV_READABLE : UV_READABLE | UV_WRITABLE);
        if (error < 0)
            end(-error, "poll");
    }
}

void SeqpacketPoller::receive() {
    auto buffer = std::make_unique_for_overwrite<char[]>(MAX_PACKET_BYTES);
    for (int turn = 0; open() && turn < PACKETS_PER_TURN; turn++) {
        Received received;
        if (receive_packet(fd(), buffer.get(), received)) {
            if (received.length == 0)
                return end(reset_, "recvmsg");
            deliver(buffer.get(), received);
        } else if (errno == ECONNRESET && reset_ == 0) {
            reset_ = errno;
        } else if (errno == EAGAIN) {
            return;
        } else {
            return end(errno, "recvmsg");
        }
    }
}

void SeqpacketPoller::deliver(const char *data, Received &received) {
    Napi::HandleScope scope(env());
    Napi::Array fds = Napi::Array::New(env(), received.fds.size());
    uint32_t index = 0;
    for (UniqueFd &fd : received.fds)
        fds.Set(index++, fd.release());
    call(on_packet_, {Napi::Buffer<char>::Copy(env(), data, static_cast<size_t>(received.length)), fds});
}

void SeqpacketPoller::end(int error, const char *syscall) {
    close();
    Napi::Value reason = error == 0 ? env().Undefined() : to_error(env(), {syscall, error});
    call(on_close_, {reason});
}

} // namespace podwright
