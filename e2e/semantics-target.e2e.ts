import { readlink } from 'node:fs/promises';
import { status } from '@grpc/grpc-js';
import { expect } from 'chai';
import { ContainerState, NamespaceMode } from '../protos/gen/cri/runtime/v1/api.js';
import {
  type Bed,
  type ContainerConfig,
  type Pod,
  containerConfig,
  createContainer,
  exec,
  exitOf,
  openBed,
  pidOf,
  runContainer,
  runPod,
  statusOf,
} from './bed.js';
import { awaitLine } from './container-log.js';
import { commandOf, ended, processesWith } from './processes.js';
import { refusal } from './refusal.js';

/** A container in the pid namespace of another one, as `kubectl debug --target` asks for it. */
describe('a container with a target', () => {
  let bed: Bed;
  let pod: Pod;
  const target = (targetId: string): ContainerConfig => ({
    linux: { securityContext: { namespaceOptions: { pid: NamespaceMode.TARGET, targetId } } },
  });
  const namespace = async (id: string): Promise<string> => readlink(`/proc/${await pidOf(bed, id)}/ns/pid`);

  before(async () => {
    bed = await openBed();
    pod = await runPod(bed, 'pod');
  });
  after(async () => {
    await bed?.end();
  });

  const runApp = async (name: string, script = 'exec sleep 1000') =>
    runContainer(bed, pod, containerConfig(bed, name, script));

  it('sees and signals the processes of its target, and is not pid 1', async () => {
    const app = await runApp('seen', 'trap "echo caught" USR1; echo up; while :; do sleep 0.1; done');
    await awaitLine(app.log, 'up');
    const debug = await runContainer(
      bed,
      pod,
      containerConfig(bed, 'seeing', 'echo $$; kill -USR1 1; exec sleep 1000', target(app.id)),
    );
    await awaitLine(app.log, 'caught');
    expect(await namespace(debug.id)).to.equal(await namespace(app.id));
    const { stdout } = await exec(bed, debug.id, 'tr "\\0" " " </proc/1/cmdline; ls -d /proc/self/root/bin');
    expect(stdout).to.contain('trap "echo caught"');
    // The way to the files of the target that people are told to use.
    expect((await exec(bed, debug.id, 'ls /proc/1/root/bin/sh')).exitCode).to.equal(0);
    expect((await exec(bed, app.id, 'ps')).stdout).to.contain('sleep 1000');
  });

  it('takes all its own processes with it, and leaves the target alone', async () => {
    const app = await runApp('staying');
    const word = '86401';
    const debug = await runContainer(
      bed,
      pod,
      containerConfig(bed, 'leaving', `sleep ${word} & setsid sleep ${word} & echo up; read line`, {
        ...target(app.id),
        stdin: true,
      }),
    );
    await awaitLine(debug.log, 'up');
    await bed.daemon.client.runtime.stopContainer({ containerId: debug.id, timeout: 0n });
    const exit = await exitOf(bed, debug.id);
    expect(exit.exitCode).to.equal(137);
    expect(await processesWith(word)).to.deep.equal([]);
    expect((await statusOf(bed, app.id)).state).to.equal(ContainerState.CONTAINER_RUNNING);
    expect((await exec(bed, app.id, 'echo here')).stdout).to.equal('here\n');
  });

  it('ends with its own code, and with its target', async () => {
    const app = await runApp('ending');
    const short = await runContainer(bed, pod, containerConfig(bed, 'short', 'exit 7', target(app.id)));
    expect((await exitOf(bed, short.id)).exitCode).to.equal(7);
    const debug = await runContainer(
      bed,
      pod,
      containerConfig(bed, 'bound', 'exec sleep 1000', target(app.id)),
    );
    const pid = await pidOf(bed, debug.id);
    await bed.daemon.client.runtime.stopContainer({ containerId: app.id, timeout: 0n });
    await ended(pid);
    expect((await exitOf(bed, debug.id)).exitCode).to.equal(137);
  });

  it('lives through a restart of the daemon', async () => {
    const app = await runApp('kept');
    const debug = await runContainer(
      bed,
      pod,
      containerConfig(bed, 'keeping', 'exec sleep 1000', target(app.id)),
    );
    const pid = await pidOf(bed, debug.id);
    await bed.daemon.restart();
    expect(await pidOf(bed, debug.id)).to.equal(pid);
    expect(await commandOf(pid)).to.deep.equal(['sleep', '1000']);
    const script = '[ "$(readlink /proc/1/ns/pid)" = "$(readlink /proc/self/ns/pid)" ]';
    expect((await exec(bed, debug.id, script)).exitCode).to.equal(0);
    await bed.daemon.client.runtime.removeContainer({ containerId: debug.id });
    expect((await statusOf(bed, app.id)).state).to.equal(ContainerState.CONTAINER_RUNNING);
  });

  it('joins the namespace of the pod where that is shared', async () => {
    const shared = await runPod(bed, 'shared', {
      linux: { securityContext: { namespaceOptions: { pid: NamespaceMode.POD } } },
    });
    const app = await runContainer(bed, shared, containerConfig(bed, 'app', 'exec sleep 1000'));
    const debug = await runContainer(
      bed,
      shared,
      containerConfig(bed, 'debug', 'exec sleep 1000', target(app.id)),
    );
    expect(await namespace(debug.id)).to.equal(await namespace(app.id));
    await bed.daemon.client.runtime.stopContainer({ containerId: app.id, timeout: 0n });
    expect((await statusOf(bed, debug.id)).state).to.equal(ContainerState.CONTAINER_RUNNING);
  });

  it('joins it in a pod with a user namespace, with volumes out of images', async function () {
    const { runtimeHandlers } = await bed.daemon.client.runtime.status({});
    if (runtimeHandlers[0]?.features?.userNamespaces !== true) return void this.skip();
    const ids = [{ containerId: 0, hostId: 300_000, length: 65_536 }];
    const usernsOptions = { mode: NamespaceMode.POD, uids: ids, gids: ids };
    const options = { pid: NamespaceMode.CONTAINER, usernsOptions };
    const mapped = await runPod(bed, 'mapped', { linux: { securityContext: { namespaceOptions: options } } });
    const app = await runContainer(
      bed,
      mapped,
      containerConfig(bed, 'app', 'exec sleep 1000', {
        linux: { securityContext: { namespaceOptions: options } },
      }),
    );
    const debug = await runContainer(
      bed,
      mapped,
      containerConfig(bed, 'debug', 'exec sleep 1000', {
        linux: {
          securityContext: {
            namespaceOptions: { ...options, pid: NamespaceMode.TARGET, targetId: app.id },
          },
        },
        mounts: [
          { containerPath: '/volume', readonly: true, image: { image: bed.image }, imageSubPath: 'bin' },
        ],
      }),
    );
    expect(await namespace(debug.id)).to.equal(await namespace(app.id));
    const { stdout } = await exec(
      bed,
      debug.id,
      'id -u; stat -c %u /volume/busybox; kill -0 1 && echo reached',
    );
    expect(stdout).to.equal('0\n0\nreached\n');
    await bed.daemon.client.runtime.stopContainer({ containerId: app.id, timeout: 0n });
    expect((await exitOf(bed, debug.id)).exitCode).to.equal(137);
  });

  it('is refused without one that runs in the same pod', async () => {
    const other = await runPod(bed, 'other');
    const elsewhere = await runContainer(bed, other, containerConfig(bed, 'elsewhere', 'exec sleep 1000'));
    const waiting = await createContainer(bed, pod, containerConfig(bed, 'waiting', 'exec sleep 1000'));
    const gone = await runApp('gone', 'exit 0');
    await exitOf(bed, gone.id);
    for (const [targetId, code, says] of [
      ['f00d', status.NOT_FOUND, /join the pid namespace of container f00d: no such container/],
      [elsewhere.id, status.INVALID_ARGUMENT, /it belongs to pod sandbox/],
      [waiting.id, status.FAILED_PRECONDITION, /it is created, not running/],
      [gone.id, status.FAILED_PRECONDITION, /it is exited, not running/],
      ['', status.INVALID_ARGUMENT, /target_id: must not be empty/],
    ] as const) {
      const config = containerConfig(bed, 'refused', 'exit 0', target(targetId));
      const { code: got, details } = await refusal(createContainer(bed, pod, config));
      expect(details).to.match(says);
      expect(got, details).to.equal(code);
    }
  });
});
