/**
 * The start time of a process out of /proc/PID/stat (field 22, clock ticks after boot), or undefined for a zombie or a
 * dead process. The command name may hold anything, so fields are counted from the last parenthesis (man 5 proc).
 */
export function parseStartTime(stat: string): string | undefined {
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const state = fields[0];
  if (state === 'Z' || state === 'X') return undefined;
  return fields[19];
}
