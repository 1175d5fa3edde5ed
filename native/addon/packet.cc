#include "packet.h"

#include <cerrno>
#include <cstring>
#include <sys/socket.h>

namespace podwright {

namespace {

union Control {
    cmsghdr header;
    char bytes[CMSG_SPACE(sizeof(int) * MAX_PACKET_FDS)];
};

} // namespace

ssize_t send_packet(int socket, const std::string &data, const std::vector<int> &fds, int flags) {
    iovec part = {const_cast<char *>(data.data()), data.size()};
    msghdr message = {};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    Control control = {};
    if (!fds.empty()) {
        const size_t bytes = fds.size() * sizeof(int);
        message.msg_control = control.bytes;
        message.msg_controllen = CMSG_SPACE(bytes);
        cmsghdr *header = &control.header;
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(bytes);
        memcpy(CMSG_DATA(header), fds.data(), bytes);
    }
    ssize_t sent;
    do
        sent = sendmsg(socket, &message, MSG_NOSIGNAL | flags);
    while (sent < 0 && errno == EINTR);
    return sent;
}

bool receive_packet(int socket, char *buffer, Received &received) {
    iovec part = {buffer, MAX_PACKET_BYTES};
    Control control = {};
    msghdr message = {};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control.bytes;
    message.msg_controllen = sizeof control.bytes;
    do
        received.length = recvmsg(socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    while (received.length < 0 && errno == EINTR);
    if (received.length < 0)
        return false;
    for (cmsghdr *header = CMSG_FIRSTHDR(&message); header; header = CMSG_NXTHDR(&message, header)) {
        if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS)
            continue;
        const size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < count; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(header) + i * sizeof fd, sizeof fd);
            received.fds.emplace_back(fd);
        }
    }
    if (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) {
        received.fds.clear();
        errno = EMSGSIZE;
        return false;
    }
    return true;
}

} // namespace podwright
