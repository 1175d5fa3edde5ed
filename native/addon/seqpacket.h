#pragma once

#include <deque>

#include "packet.h"
#include "poller.h"

namespace podwright {

// One SOCK_SEQPACKET connection on the loop.
class SeqpacketPoller : public Poller {
  public:
    SeqpacketPoller(Addon &addon, UniqueFd fd, Napi::Function on_packet, Napi::Function on_close)
        : Poller(addon, std::move(fd)), on_packet_(Napi::Persistent(on_packet)),
          on_close_(Napi::Persistent(on_close)) {}

    // 0 if sent or queued, else errno.
    int send(std::string data, const std::vector<int> &fds);

  private:
    struct Queued {
        std::string data;
        std::vector<UniqueFd> fds;
    };

    void ready(int status, int events) override;
    void flush();
    void receive();
    void deliver(const char *data, Received &received);
    void end(int error, const char *syscall);
    int enqueue(std::string data, const std::vector<int> &fds);

    Napi::FunctionReference on_packet_;
    Napi::FunctionReference on_close_;
    std::deque<Queued> queue_;
    size_t queued_bytes_ = 0;
    // The peer vanished with packets of ours unread: reported once, before the packets that it had still
    // sent.
    int reset_ = 0;
};

} // namespace podwright
