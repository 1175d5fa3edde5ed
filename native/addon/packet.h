#pragma once

#include "addon.h"

namespace podwright {

constexpr size_t MAX_PACKET_BYTES = 65536;
constexpr size_t MAX_PACKET_FDS = 16;

// sendmsg(2) of one packet with its descriptors: the byte count, or -1 with errno.
ssize_t send_packet(int socket, const std::string &data, const std::vector<int> &fds, int flags);

struct Received {
    ssize_t length = 0;
    std::vector<UniqueFd> fds;
};

// recvmsg(2) of one packet into `buffer` (MAX_PACKET_BYTES): false with errno. A packet that was cut, or
// whose descriptors were, is EMSGSIZE; the descriptors that did arrive are closed.
bool receive_packet(int socket, char *buffer, Received &received);

} // namespace podwright
