import { untilAborted } from '../../runtime/base/keyed-lock.js';
import { RuntimeError } from '../../runtime/errors.js';

export interface QueueLimits {
  readonly events: number;
  readonly bytes: number;
}

/**
 * The events that one client has not taken yet. When they exceed the limits all of them are let go and from then on only
 * counted: a client that has missed one must list anyway, and is told so as soon as it reads again.
 */
export class EventQueue {
  private events: Buffer[] = [];
  private bytes = 0;
  private missed = 0;
  private end: RuntimeError | undefined;
  private wake = (): void => undefined;

  constructor(private readonly limits: QueueLimits) {}

  /** Whether events are only counted. */
  get hasMissed(): boolean {
    return this.missed > 0;
  }

  put(event: Buffer): void {
    this.events.push(event);
    this.bytes += event.length;
    const { events, bytes } = this.limits;
    if (this.events.length > events || (this.bytes > bytes && this.events.length > 1)) {
      this.missed = this.events.length;
      this.events = [];
      this.bytes = 0;
    }
    this.wake();
  }

  /** Counts an event that nobody has made. */
  miss(): void {
    this.missed += 1;
  }

  /** Lets the client take what there is, and then have this error. */
  close(end: RuntimeError): void {
    this.end = end;
    this.wake();
  }

  /** @throws ResourceExhausted when events were missed, what {@link close} got, the signal's reason */
  async *read(signal: AbortSignal): AsyncGenerator<Buffer> {
    for (;;) {
      if (this.missed > 0) throw tooSlow(this.missed);
      const event = this.events.shift();
      if (event !== undefined) {
        this.bytes -= event.length;
        yield event;
      } else if (this.end !== undefined) throw this.end;
      else await this.changed(signal);
    }
  }

  private async changed(signal: AbortSignal): Promise<void> {
    const changed = new Promise<void>((resolve) => {
      this.wake = resolve;
    });
    await untilAborted(changed, signal);
  }
}

function tooSlow(missed: number): RuntimeError {
  return new RuntimeError('ResourceExhausted', 'container events', {
    cause: `the client read too slowly and missed ${missed} of them; list what there is and follow again`,
  });
}
