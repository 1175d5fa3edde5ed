import { pidfdSendSignal, spawn, waitPidfd, type Fd } from '../native/index.js';

const SIGTERM = 15;

/** A process of `podwright-unpack`, which ends with its daemon and treats what comes from outside (native/unpack). */
export interface UnpackProcess {
  /** Then nothing is written any more. */
  readonly ended: Promise<void>;
  /** Ends it before its time; nothing if it has ended. */
  kill(): void;
}

/** @param fds the descriptors of the process, by their place; all stay the caller's */
export function startUnpackProcess(
  program: string,
  args: readonly string[],
  fds: readonly (Fd | null)[],
): UnpackProcess {
  const { pidfd } = spawn({ file: program, argv: ['podwright-unpack', ...args], fds });
  let running = true;
  return {
    ended: waitPidfd(pidfd).then(() => void (running = false)),
    kill: () => {
      if (running) pidfdSendSignal(pidfd, SIGTERM);
    },
  };
}
