import { refuse } from './check.js';

interface Streams {
  readonly stdin: boolean;
  readonly stdout: boolean;
  readonly stderr: boolean;
}

/** The streams of an exec or attach: one at least, and no stderr beside a terminal (CRI ExecRequest). */
export function checkStreams({ tty, stdin, stdout, stderr }: Streams & { readonly tty: boolean }): Streams {
  if (tty && stderr) throw refuse('stderr', 'must be false with tty');
  if (!stdin && !stdout && !stderr) throw refuse('stdin', 'stdout or stderr must be true');
  return { stdin, stdout, stderr };
}
