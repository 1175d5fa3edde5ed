export const defaultProfileName = 'podwright-default';

/**
 * What RuntimeDefault means, in AppArmor's language (man 5 apparmor.d).
 *
 * Capabilities, system calls and masked paths are bounded elsewhere; this is the second wall, behind which even root
 * with CAP_SYS_ADMIN can neither mount nor reach the kernel's settings. It names no feature ABI, so that every parser
 * reads it and what later kernels mediate in addition stays as it was.
 */
export const defaultProfile = `
profile ${defaultProfileName} flags=(attach_disconnected, mediate_deleted) {
  capability,
  file,
  network,
  unix,
  umount,

  # Anyone who may signal or look at others may do it to a container: the daemon, CRIU, a debugger on the node.
  signal (receive),
  signal (send) peer=${defaultProfileName},
  ptrace (readby, tracedby),
  ptrace (read, trace) peer=${defaultProfileName},

  # Mounts could cover or uncover what is masked.
  deny mount,
  deny pivot_root,
  deny umount /proc/{,**},
  deny umount /sys/{,**},

  # Everything in /proc that is not about a process concerns the node.
  deny /proc/[^1-9]** wklx,
  deny /proc/kcore r,

  # Of /sys only cgroups may be written, as far as the container has any.
  deny /sys/{[^f]**,f[^s]**,fs/[^c]**,fs/c[^g]**} wklx,
  deny /sys/firmware/{,**} r,
  deny /sys/kernel/{debug,security,tracing}/{,**} r,
  # Power meters tell what others compute (CVE-2020-8694).
  deny /sys/devices/virtual/powercap/{,**} r,
}
`;
