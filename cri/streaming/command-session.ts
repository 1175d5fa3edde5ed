import { once } from 'node:events';
import type { Readable, Writable } from 'node:stream';
import { finished } from 'node:stream/promises';
import type { Session } from '../../runtime/container/types.js';
import { messageOf } from '../../runtime/errors.js';
import type { CommandClient, TerminalSize } from './client.js';
import { errorStatus, exitStatus, exitText } from './status.js';

const MAX_SIZE_BYTES = 1024;
const MAX_DIMENSION = 65_535;
/** A process left behind by the command may keep its output open: it is not waited for longer than this. */
const QUIET_MS = 500;

/**
 * Connects a client to a session: its input, output and size until the process ends, then how that ended. When the client
 * goes first the session is closed with it.
 *
 * The end of an attached container is success, whatever its code, which is in its status: clients take anything else for
 * a connection that broke, and read the whole log instead.
 */
export async function runCommandSession(
  client: CommandClient,
  { kind, open }: { readonly kind: 'exec' | 'attach'; readonly open: () => Promise<Session> },
): Promise<void> {
  try {
    const session = await open();
    const close = (): void => {
      session.close();
    };
    client.ended.addEventListener('abort', close, { once: true });
    try {
      if (client.ended.aborted) return;
      const ended = await follow(client, session);
      const code = kind === 'exec' ? ended : 0;
      client.error.end(client.takesStatus ? exitStatus(code) : exitText(code));
    } finally {
      client.ended.removeEventListener('abort', close);
      close();
    }
  } catch (error) {
    const message = messageOf(error);
    client.error.end(client.takesStatus ? errorStatus(message) : message);
  } finally {
    client.stdout?.end();
    client.stderr?.end();
    client.close();
  }
}

async function follow(client: CommandClient, session: Session): Promise<number> {
  if (client.stdin !== undefined) copyInput(client.stdin, session.stdin);
  if (client.resize !== undefined) followSize(client.resize, session);
  const outputs = [
    copyOutput(session.stdout, client.stdout),
    copyOutput(session.stderr, client.stderr),
  ].filter((output) => output !== undefined);
  const code = await untilEnded(session.exited, client.ended);
  await Promise.all(outputs.map((output) => output.drained()));
  return code;
}

/** A client that has gone needs no code; the process may go on, as one that is attached to does. */
function untilEnded(exited: Promise<number>, ended: AbortSignal): Promise<number> {
  return new Promise((resolve, reject) => {
    const gone = (): void => {
      reject(new Error('the client has gone'));
    };
    ended.addEventListener('abort', gone, { once: true });
    const done = (): void => {
      ended.removeEventListener('abort', gone);
    };
    exited.finally(done).then(resolve, reject);
  });
}

/** The client's half-close is the end of the input; without an input, what comes is dropped. */
function copyInput(from: Readable, to: Writable | undefined): void {
  if (to === undefined) {
    from.resume();
    return;
  }
  from.pipe(to);
  // A process that has closed its input is no reason to end, nor to stop reading the other streams.
  to.on('close', () => {
    from.unpipe(to);
    from.resume();
  });
}

interface Output {
  /** Resolves when all that the process wrote is on its way to the client. Call it once the process has ended. */
  drained(): Promise<void>;
}

function copyOutput(from: Readable | undefined, to: Writable | undefined): Output | undefined {
  if (from === undefined) return undefined;
  let last = performance.now();
  from.on('data', () => {
    last = performance.now();
  });
  if (to !== undefined) {
    from.pipe(to, { end: false });
    to.once('close', () => from.destroy());
  }
  const end = finished(from).catch(() => undefined);
  return {
    drained: async () => {
      const look = setInterval(() => {
        if (performance.now() - last > QUIET_MS && to?.writableNeedDrain !== true) from.destroy();
      }, QUIET_MS / 2);
      await end;
      clearInterval(look);
      if (to?.writableNeedDrain === true) await Promise.race([once(to, 'drain'), once(to, 'close')]);
    },
  };
}

// ---- terminal size ----

/** A row of JSON objects, with no more between them than space. */
function followSize(from: Readable, session: Session): void {
  let text = '';
  from.on('data', (chunk: Buffer) => {
    text += chunk.toString('latin1');
    for (let end = text.indexOf('}'); end >= 0; end = text.indexOf('}')) {
      const size = parseSize(text.slice(0, end + 1));
      text = text.slice(end + 1);
      if (size !== undefined) session.resize(size.columns, size.rows).catch(() => undefined);
    }
    if (text.length > MAX_SIZE_BYTES) from.destroy();
  });
}

function parseSize(text: string): TerminalSize | undefined {
  try {
    const { Width, Height } = JSON.parse(text) as { readonly Width?: unknown; readonly Height?: unknown };
    return isDimension(Width) && isDimension(Height) ? { columns: Width, rows: Height } : undefined;
  } catch {
    return undefined;
  }
}

function isDimension(value: unknown): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value > 0 && value <= MAX_DIMENSION;
}
