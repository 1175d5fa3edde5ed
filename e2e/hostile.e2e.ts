import { once } from 'node:events';
import net from 'node:net';
import { Client, Metadata, credentials, status } from '@grpc/grpc-js';
import { expect } from 'chai';
import { exec, podConfig } from './bed.js';
import { type Case, describeHostileRequests } from './hostile.suite.js';
import { refusal } from './refusal.js';

const { INVALID_ARGUMENT, NOT_FOUND, FAILED_PRECONDITION, UNIMPLEMENTED, RESOURCE_EXHAUSTED } = status;

describeHostileRequests(({ calls, refused, target }) => {
  const unknown = 'e'.repeat(64);
  const execute = (command: string | readonly string[], id = target().running.id) =>
    exec(target().bed, id, command);
  const others: readonly Case<() => Promise<unknown>>[] = [
    [
      'the status of a pod that is not there',
      () => calls().runtime.podSandboxStatus({ podSandboxId: unknown }),
      NOT_FOUND,
      /e{64}/,
    ],
    [
      'the status of a container that is not there',
      () => calls().runtime.containerStatus({ containerId: unknown }),
      NOT_FOUND,
      /e{64}/,
    ],
    [
      'the status of a container by a path',
      () => calls().runtime.containerStatus({ containerId: '../x' }),
      NOT_FOUND,
      /\.\.\/x/,
    ],
    [
      'the status of no container',
      () => calls().runtime.containerStatus({}),
      INVALID_ARGUMENT,
      /container_id/,
    ],
    [
      'the figures of a container that is not there',
      () => calls().runtime.containerStats({ containerId: unknown }),
      NOT_FOUND,
      /e{64}/,
    ],
    [
      'to start a container that is not there',
      () => calls().runtime.startContainer({ containerId: unknown }),
      NOT_FOUND,
      /e{64}/,
    ],
    [
      'to start a container that runs',
      () => calls().runtime.startContainer({ containerId: target().running.id }),
      FAILED_PRECONDITION,
      /running/,
    ],
    ['to stop no container', () => calls().runtime.stopContainer({}), INVALID_ARGUMENT, /container_id/],
    ['to remove no container', () => calls().runtime.removeContainer({}), INVALID_ARGUMENT, /container_id/],
    ['to stop no pod', () => calls().runtime.stopPodSandbox({}), INVALID_ARGUMENT, /pod_sandbox_id/],
    ['to remove no pod', () => calls().runtime.removePodSandbox({}), INVALID_ARGUMENT, /pod_sandbox_id/],
    ['to execute nothing', () => execute([]), INVALID_ARGUMENT, /cmd/],
    ['to execute a NUL byte', () => execute(['a\0']), INVALID_ARGUMENT, /cmd\[0\]/],
    ['to execute 200 KiB', () => execute(['echo', 'x'.repeat(200 << 10)]), INVALID_ARGUMENT, /cmd\[1\]/],
    ['to execute nowhere', () => execute(['true'], unknown), NOT_FOUND, /e{64}/],
    [
      'to execute what is not there',
      () => execute(['/no/such/program']),
      INVALID_ARGUMENT,
      /\/no\/such\/program/,
    ],
    [
      'to reopen a log of nothing',
      () => calls().runtime.reopenContainerLog({ containerId: unknown }),
      NOT_FOUND,
      /e{64}/,
    ],
    [
      'to update to absurd limits',
      () =>
        calls().runtime.updateContainerResources({
          containerId: target().running.id,
          linux: { cpuPeriod: 1n },
        }),
      INVALID_ARGUMENT,
      /cpu_period/,
    ],
    [
      'to checkpoint to a relative path',
      () => calls().runtime.checkpointContainer({ containerId: target().running.id, location: 'x.tar' }),
      INVALID_ARGUMENT,
      /location/,
    ],
    [
      'to checkpoint to .. ',
      () => calls().runtime.checkpointContainer({ containerId: target().running.id, location: '/tmp/../x' }),
      INVALID_ARGUMENT,
      /location/,
    ],
    ['to pull nothing', () => calls().image.pullImage({ image: { image: '' } }), INVALID_ARGUMENT, /image/],
    [
      'to pull a path',
      () => calls().image.pullImage({ image: { image: '../../etc' } }),
      INVALID_ARGUMENT,
      /\.\.\/etc/,
    ],
    [
      'to pull a URL',
      () => calls().image.pullImage({ image: { image: 'http://x/y' } }),
      INVALID_ARGUMENT,
      /http/,
    ],
    [
      'to pull capitals',
      () => calls().image.pullImage({ image: { image: 'x.invalid/BIG:1' } }),
      INVALID_ARGUMENT,
      /BIG/,
    ],
    [
      'to pull a broken digest',
      () => calls().image.pullImage({ image: { image: 'x.invalid/y@sha256:12' } }),
      INVALID_ARGUMENT,
      /sha256:12/,
    ],
    [
      'to pull a NUL byte',
      () => calls().image.pullImage({ image: { image: 'x.invalid/y:\0' } }),
      INVALID_ARGUMENT,
      /image/,
    ],
    [
      'to pull what the registry has not',
      () => calls().image.pullImage({ image: { image: `${target().bed.server.host}/none:1` } }),
      NOT_FOUND,
      /none/,
    ],
    [
      'a pod range that is none',
      () =>
        calls().runtime.updateRuntimeConfig({ runtimeConfig: { networkConfig: { podCidr: '10.0.0.0/99' } } }),
      INVALID_ARGUMENT,
      /pod_cidr/,
    ],
    [
      'a pod range that is a command',
      () =>
        calls().runtime.updateRuntimeConfig({
          runtimeConfig: { networkConfig: { podCidr: '10.0.0.0/8; reboot' } },
        }),
      INVALID_ARGUMENT,
      /pod_cidr/,
    ],
  ];
  for (const [what, call, code, names] of others) {
    it(what.startsWith('to ') ? what : `for ${what}`, async () => {
      await refused(call(), code, names);
    });
  }

  it('to stop or remove what is gone is answered as done', async () => {
    await calls().runtime.stopContainer({ containerId: unknown });
    await calls().runtime.removeContainer({ containerId: unknown });
    await calls().runtime.stopPodSandbox({ podSandboxId: unknown });
    await calls().runtime.removePodSandbox({ podSandboxId: unknown });
    await calls().image.removeImage({ image: { image: 'x.invalid/none:1' } });
    const { image } = await calls().image.imageStatus({ image: { image: 'x.invalid/none:1' } });
    expect(image).to.equal(undefined);
  });

  it('of 20 MiB is refused unread', async () => {
    const config = podConfig(target().bed, 'hostile', { annotations: { a: 'x'.repeat(20 << 20) } });
    await refused(calls().runtime.runPodSandbox({ config }), RESOURCE_EXHAUSTED, /larger than max/);
  });

  it('of bytes that are no message is refused', async () => {
    const client = new Client(`unix:${target().bed.daemon.socket}`, credentials.createInsecure());
    const send = (rpc: string, bytes: Buffer): Promise<unknown> =>
      new Promise((resolve, reject) => {
        const same = (value: Buffer): Buffer => value;
        client.makeUnaryRequest(rpc, same, same, bytes, new Metadata(), (error, answer) =>
          error === null ? resolve(answer) : reject(error),
        );
      });
    const run = '/runtime.v1.RuntimeService/RunPodSandbox';
    // A length that goes beyond the end; a group that is never closed; a varint without end.
    for (const bytes of ['0affffff7f', '0b0b0b0b', '08ffffffffffffffffffffff', 'ff'.repeat(1000)]) {
      const { code } = await refusal(send(run, Buffer.from(bytes, 'hex')));
      expect(status[code]).to.be.oneOf(['INTERNAL', 'INVALID_ARGUMENT']);
    }
    await refused(
      send('/runtime.v1.RuntimeService/NoSuchCall', Buffer.alloc(0)),
      UNIMPLEMENTED,
      /NoSuchCall/,
    );
    client.close();
  });

  it('that does not even speak gRPC disturbs nobody', async () => {
    const talk = async (bytes: string | Buffer): Promise<void> => {
      const connection = net.connect(target().bed.daemon.socket);
      await once(connection, 'connect');
      connection.on('error', () => undefined);
      connection.end(bytes);
      connection.resume();
      await once(connection, 'close');
    };
    await talk('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
    await talk('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n' + '\xff'.repeat(1000));
    await talk(Buffer.alloc(100_000, 0xa5));
    const idle = Array.from({ length: 200 }, () => net.connect(target().bed.daemon.socket));
    await Promise.all(idle.map((connection) => once(connection, 'connect')));
    expect((await execute('echo here')).stdout).to.equal('here\n');
    for (const connection of idle) connection.destroy();
  });
});
