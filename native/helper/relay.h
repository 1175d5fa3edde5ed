/*
 * Roles that carry bytes for a streaming session, where Node cannot do it itself.
 *
 *   terminal       copies descriptor 0 to the terminal's master on 3, and the master to 1. Ends when the
 * terminal was hung up or nobody reads any more; the end of the input is not the end of the session. connect
 * PORT   enters the network namespace on 3 and connects to PORT on its loopback, IPv4 first. The connected
 *                  socket goes over the unix socket on 0, with the errno (0) as text.
 */
#pragma once

int relay_terminal(void);
int relay_connect(const char *port);
