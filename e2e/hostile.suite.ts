import { execFile } from 'node:child_process';
import { mkdir, symlink, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { status } from '@grpc/grpc-js';
import { expect } from 'chai';
import { strays } from './audit.js';
import { type Bed, type Pod, type Workload, containerConfig, openBed, runContainer, runPod } from './bed.js';
import { type Canary, makeCanary } from './canary.js';
import type { CriClient } from './cri-client.js';
import { refusal } from './refusal.js';

/** What is asked, the code it is refused with, and what the sentence must name. */
export type Case<Request> = readonly [what: string, request: Request, code: status, names: RegExp];

/** What requests that nobody should make are sent to. */
export interface Target {
  readonly bed: Bed;
  readonly pod: Pod;
  readonly running: Workload;
}

export interface Attack {
  /** To be asked for within a test. */
  readonly target: () => Target;
  readonly calls: () => CriClient;
  /** Checks that a call is refused with the right code and a sentence that names the thing. */
  readonly refused: (call: Promise<unknown>, code: status, names: RegExp) => Promise<void>;
}

/**
 * Requests that nobody should make: each test sends some, which must leave nothing, and the daemon goes on.
 *
 * @param define its tests
 */
export function describeHostileRequests(define: (attack: Attack) => void): void {
  describe('a hostile request', function () {
    this.timeout(60_000);
    let bed: Bed;
    let canary: Canary;
    let untouched: string;
    let pod: Pod;
    let running: Workload;
    const calls = (): CriClient => bed.daemon.client;

    before(async () => {
      bed = await openBed();
      canary = await makeCanary(bed.daemon.instance.scratch);
      pod = await runPod(bed, 'steady');
      running = await runContainer(bed, pod, containerConfig(bed, 'running', 'exec sleep 1000'));
      await symlink(canary.directory, path.join(pod.logDirectory, 'link'));
      await symlink(path.join(canary.directory, 'secret'), path.join(pod.logDirectory, 'link.log'));
      await mkdir(path.join(pod.logDirectory, 'directory.log'));
      await promisify(execFile)('mkfifo', [path.join(pod.logDirectory, 'fifo.log')]);
      untouched = await canary.describe();
    });
    after(async () => {
      await bed?.end();
    });
    afterEach(async () => {
      const { items } = await calls().runtime.listPodSandbox();
      expect(items.map(({ id }) => id)).to.deep.equal([pod.id]);
      const { containers } = await calls().runtime.listContainers();
      expect(containers.map(({ id }) => id)).to.deep.equal([running.id]);
    });

    define({ target: () => ({ bed, pod, running }), calls, refused });

    it('has left nothing, and has changed nothing of the host', async () => {
      expect(await canary.describe()).to.equal(untouched);
      expect(await strays(bed)).to.deep.equal([]);
      await writeFile(path.join(canary.directory, 'probe'), '');
      expect(await canary.describe()).not.to.equal(untouched);
    });
  });
}

async function refused(call: Promise<unknown>, code: status, names: RegExp): Promise<void> {
  const refused = await refusal(call);
  expect(status[refused.code], refused.details).to.equal(status[code]);
  expect(refused.details).to.match(names);
  expect(refused.details.length).to.be.lessThan(4000);
  // eslint-disable-next-line no-control-regex -- that is what is looked for
  expect(refused.details).not.to.match(/[\x00-\x08\x0a-\x1f]/);
}
