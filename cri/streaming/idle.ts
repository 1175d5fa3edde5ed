/** Ends what nothing moves over. */
export interface IdleTimer {
  /** Something has moved. */
  touch(): void;
  stop(): void;
}

/** @param timeoutMs 0: never */
export function startIdleTimer(timeoutMs: number, onIdle: () => void): IdleTimer {
  let timer = timeoutMs === 0 ? undefined : setTimeout(onIdle, timeoutMs).unref();
  return {
    touch: () => {
      timer?.refresh();
    },
    stop: () => {
      clearTimeout(timer);
      // A refresh would start it again.
      timer = undefined;
    },
  };
}
