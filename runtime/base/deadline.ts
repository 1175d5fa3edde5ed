/** Resolves true when the promise settles in time, false when `timeoutMs` passed first. The timer never keeps the process alive. */
export async function within(promise: Promise<unknown>, timeoutMs: number): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<boolean>((resolve) => {
    timer = setTimeout(() => resolve(false), Math.min(timeoutMs, MAX_TIMER_MS));
  });
  try {
    return await Promise.race([promise.then(() => true), late]);
  } finally {
    clearTimeout(timer);
  }
}

/** setTimeout fires at once for anything longer (man: a 32-bit count of milliseconds). */
export const MAX_TIMER_MS = 2 ** 31 - 1;
