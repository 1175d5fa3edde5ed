import { expect } from 'chai';
import fc from 'fast-check';
import { RuntimeError } from '../errors.js';
import {
  containerEvents,
  containerPhases,
  transition,
  transitions,
  type ContainerEvent,
} from './transition.js';
import type { ContainerState } from './types.js';

const init = { pid: 7, startTime: '99' };
const exit = {
  code: 0,
  signal: 0,
  oomKilled: false,
  startedAtNs: 1n,
  finishedAtNs: 2n,
  reason: 'Completed',
  message: '',
};

const events: Record<(typeof containerEvents)[number], ContainerEvent> = {
  created: { event: 'created', init },
  started: { event: 'started', atNs: 5n },
  paused: { event: 'paused' },
  resumed: { event: 'resumed' },
  exited: { event: 'exited', exit },
  removing: { event: 'removing' },
  lost: { event: 'lost', message: 'no record' },
};

const states: Record<(typeof containerPhases)[number], ContainerState> = {
  creating: { phase: 'creating' },
  created: { phase: 'created', init },
  running: { phase: 'running', init, startedAtNs: 1n },
  paused: { phase: 'paused', init, startedAtNs: 1n },
  exited: { phase: 'exited', exit },
  removing: { phase: 'removing', exit },
  unknown: { phase: 'unknown', message: 'x' },
};

describe('container transitions', () => {
  it('does for every phase and event what the table says', () => {
    for (const phase of containerPhases) {
      for (const event of containerEvents) {
        const next = transitions[phase][event];
        const act = (): ContainerState => transition(states[phase], events[event]);
        if (next === null) expect(act, `${phase} × ${event}`).to.throw(RuntimeError, phase);
        else expect(act().phase, `${phase} × ${event}`).to.equal(next);
      }
    }
  });

  it('never leaves removing, and reaches a process only through created', () => {
    fc.assert(
      fc.property(fc.array(fc.constantFrom(...containerEvents)), (names) => {
        let state: ContainerState = { phase: 'creating' };
        let wasCreated = false;
        for (const name of names) {
          const before: ContainerState = state;
          if (transitions[before.phase][name] === null) continue;
          state = transition(before, events[name]);
          wasCreated ||= state.phase === 'created';
          if (before.phase === 'removing') expect(state.phase).to.equal('removing');
          if (state.phase === 'running' || state.phase === 'paused') expect(wasCreated).to.equal(true);
        }
      }),
    );
  });
});
