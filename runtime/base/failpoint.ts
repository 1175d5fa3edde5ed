/**
 * Places where a test makes the daemon fail: FAILPOINTS='container.create.after-record=crash,sandbox.run.network=error'.
 * `crash` is a SIGKILL of ourselves, `error` throws. Costs a map look-up when the variable is set, nothing otherwise.
 */
const points: ReadonlyMap<string, string> = new Map(
  (process.env['FAILPOINTS'] ?? '')
    .split(',')
    .filter((entry) => entry.includes('='))
    .map((entry) => {
      const at = entry.indexOf('=');
      return [entry.slice(0, at), entry.slice(at + 1)] as const;
    }),
);

export function failpoint(name: string): void {
  if (points.size === 0) return;
  const action = points.get(name);
  if (action === 'crash') process.kill(process.pid, 'SIGKILL');
  if (action === 'error') throw new Error(`failpoint ${name}`);
}
