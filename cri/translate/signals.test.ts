import { expect } from 'chai';
import { Signal } from '../../protos/gen/cri/runtime/v1/api.js';
import { signalNumber, toCriSignal, toStopSignal } from './signals.js';
import { refusalOf } from '../testing/refusal.js';

describe('signals', () => {
  for (const [text, number] of [
    ['SIGTERM', 15],
    ['term', 15],
    ['9', 9],
    ['64', 64],
    ['SIGRTMIN', 34],
    ['SIGRTMIN+3', 37],
    ['RTMAX-2', 62],
    ['SIGRTMINPLUS15', 49],
    ['SIGRTMAXMINUS14', 50],
    ['SIGCLD', 17],
    ['SIGPOLL', 29],
  ] as [string, number][]) {
    it(`${text} is ${number}`, () => {
      expect(signalNumber('s', text)).to.equal(number);
    });
  }
  for (const text of [
    '',
    '0',
    '65',
    '-9',
    'SIG',
    'SIGNOPE',
    'SIGRTMIN-1',
    'SIGRTMAX+1',
    'SIGRTMIN+31',
    'toString',
    '9\0',
  ]) {
    it(`refuses ${JSON.stringify(text)}`, () => {
      expect(refusalOf(() => signalNumber('s', text))).to.match(/^InvalidArgument: s/);
    });
  }
  it('prefers the request, then the image, then SIGTERM', () => {
    expect(toStopSignal(Signal.SIGNAL_SIGUSR1, 'SIGQUIT')).to.equal(10);
    expect(toStopSignal(Signal.SIGNAL_RUNTIME_DEFAULT, 'SIGQUIT')).to.equal(3);
    expect(toStopSignal(Signal.SIGNAL_RUNTIME_DEFAULT, '')).to.equal(15);
    expect(refusalOf(() => toStopSignal(99 as Signal, ''))).to.match(/^InvalidArgument: config\.stop_signal/);
  });
  it('gives every signal of the CRI a number that leads back to it or its alias', () => {
    const names = Object.keys(Signal).filter((name) => name.startsWith('SIGNAL_SIG'));
    expect(names).to.have.length(65);
    for (const name of names) {
      const number = signalNumber('s', name.slice('SIGNAL_'.length));
      expect(signalNumber('s', (Signal[toCriSignal(number)] ?? '').slice('SIGNAL_'.length)), name).to.equal(
        number,
      );
    }
  });
});
