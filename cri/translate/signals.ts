import os from 'node:os';
import { Signal } from '../../protos/gen/cri/runtime/v1/api.js';
import { quote, refuse } from './check.js';

const sigTerm = 15;
const sigRtMin = 34;
const sigRtMax = 64;

/** Names with two spellings, which Node knows by the other one or not at all. */
const aliases: Readonly<Record<string, number>> = { SIGCLD: 17, SIGPOLL: 29 };

/** The signal a container is asked to end with: the request's, else the image's, else SIGTERM. */
export function toStopSignal(requested: Signal, imageSignal: string): number {
  if (requested !== Signal.SIGNAL_RUNTIME_DEFAULT) {
    const name = Signal[requested];
    if (name === undefined || requested === Signal.UNRECOGNIZED) {
      throw refuse('config.stop_signal', `unknown value ${requested}`);
    }
    return signalNumber('config.stop_signal', name.slice('SIGNAL_'.length));
  }
  return imageSignal === '' ? sigTerm : signalNumber('stop signal of the image', imageSignal);
}

/** SIGTERM, TERM, 15, SIGRTMIN+3, SIGRTMAX-2 and the CRI's SIGRTMINPLUS3. */
export function signalNumber(field: string, text: string): number {
  if (/^[1-9][0-9]?$/.test(text) && Number(text) <= sigRtMax) return Number(text);
  const upper = text.toUpperCase();
  const name = upper.startsWith('SIG') ? upper : `SIG${upper}`;
  const known: Readonly<Record<string, number>> = { ...os.constants.signals, ...aliases };
  const plain = Object.hasOwn(known, name) ? known[name] : undefined;
  const number = plain ?? realTimeSignal(name);
  if (number === undefined) throw refuse(field, `${quote(text)} is not a signal`);
  return number;
}

function realTimeSignal(name: string): number | undefined {
  const match = /^SIGRT(MIN|MAX)(?:(?:\+|-|PLUS|MINUS)([0-9]{1,2}))?$/.exec(name);
  if (match === null) return undefined;
  const offset = Number(match[2] ?? 0);
  const number = match[1] === 'MIN' ? sigRtMin + offset : sigRtMax - offset;
  const rightDirection = offset === 0 || (match[1] === 'MIN' ? /\+|PLUS/.test(name) : /-|MINUS/.test(name));
  return rightDirection && number >= sigRtMin && number <= sigRtMax ? number : undefined;
}

/** The CRI's name for a signal number, for ContainerStatus. */
export function toCriSignal(number: number): Signal {
  const byNumber = Object.entries(os.constants.signals).find(([, value]) => value === number)?.[0];
  const name = byNumber ?? realTimeName(number);
  const value = name === undefined ? undefined : Signal[`SIGNAL_${name}` as keyof typeof Signal];
  return value ?? Signal.SIGNAL_RUNTIME_DEFAULT;
}

function realTimeName(number: number): string | undefined {
  if (number < sigRtMin || number > sigRtMax) return undefined;
  if (number === sigRtMin || number === sigRtMax) return number === sigRtMin ? 'SIGRTMIN' : 'SIGRTMAX';
  return number <= sigRtMin + 15 ? `SIGRTMINPLUS${number - sigRtMin}` : `SIGRTMAXMINUS${sigRtMax - number}`;
}
