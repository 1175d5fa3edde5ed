/*
 * podwright-init: the static helper. Its first argument says which role this process plays:
 *   launch N, exec N   the launcher of a plan (launch.h)
 *   monitor            one container's monitor (monitor.h)
 *   terminal           bytes between a terminal and two pipes (relay.h)
 *   connect PORT       a connection inside a network namespace (relay.h)
 *   version            prints the versions of the plan format and of the frames
 */
#include "frames.h"
#include "launch.h"
#include "monitor.h"
#include "relay.h"
#include <stdio.h>
#include <string.h>

int main(int argc, char **argv) {
    const char *role = argc > 1 ? argv[1] : "";
    if (strcmp(role, "launch") == 0 || strcmp(role, "exec") == 0)
        return launch_main(argc, argv);
    if (strcmp(role, "monitor") == 0)
        return monitor_main(argc, argv);
    if (strcmp(role, "terminal") == 0)
        return relay_terminal();
    if (strcmp(role, "connect") == 0 && argc == 3)
        return relay_connect(argv[2]);
    if (strcmp(role, "version") == 0) {
        printf("podwright-init: plan format %d, frames %d\n", PLAN_VERSION, FRAME_VERSION);
        return 0;
    }
    fputs("usage: podwright-init launch N | exec N | monitor | terminal | connect PORT | version\n", stderr);
    return 2;
}
