import { expect } from 'chai';
import fc from 'fast-check';
import {
  CreateContainerRequest,
  ImageServiceService,
  RunPodSandboxRequest,
  RuntimeServiceService,
} from '../protos/gen/cri/runtime/v1/api.js';
import { silentLogger } from '../runtime/base/logger.js';
import { RuntimeError } from '../runtime/errors.js';
import { CpuRates } from './cpu-rates.js';
import { ContainerEvents } from './events/container-events.js';
import { loadConfig } from './config.js';
import { Journal } from './journal/journal.js';
import { imageService } from './image-service/index.js';
import type { Call, Unary } from './rpc.js';
import { runtimeService } from './runtime-service/index.js';
import { containerConfig, podConfig, testHost, testImage } from './testing/fixtures.js';
import { openInMemoryRuntime } from './testing/in-memory-runtime.js';
import { StreamingServer } from './streaming/server.js';
import { UserDatabases } from './user-databases.js';

/** Texts that somebody would try. */
const hostileText = fc.oneof(
  fc.constantFrom(
    '',
    '..',
    '/',
    '../../etc/passwd',
    '/a/../b',
    'a\0b',
    'a\nb',
    '__proto__',
    'constructor',
    '-1',
    '+',
    '=',
  ),
  fc.constantFrom(
    '4294967296',
    '18446744073709551616',
    'localhost//x',
    'x'.repeat(5000),
    '\ud800',
    'ü',
    '%s',
    '*',
  ),
  fc.string({ unit: 'binary', maxLength: 20 }),
);
const hostileNumber = fc.constantFrom(
  0n,
  1n,
  -1n,
  2n ** 31n,
  2n ** 32n,
  2n ** 53n,
  2n ** 63n - 1n,
  -(2n ** 63n),
);

/** The value with some of its leaves replaced. */
function mutate(value: unknown, choose: () => unknown): unknown {
  if (Array.isArray(value)) return value.map((item) => mutate(item, choose));
  if (Buffer.isBuffer(value) || typeof value !== 'object' || value === null) {
    const replacement = choose();
    return typeof replacement === typeof value ? replacement : value;
  }
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, mutate(item, choose)]));
}

describe('a hostile request', function () {
  this.timeout(60_000);

  async function openCall(): Promise<Call> {
    const runtime = openInMemoryRuntime();
    runtime.putImage(testImage());
    const { config } = await loadConfig({ file: '/dev/null', settings: [] });
    return {
      version: 'test',
      runtime,
      config,
      log: silentLogger,
      host: testHost,
      events: new ContainerEvents(silentLogger),
      journal: new Journal(undefined, silentLogger),
      cpuRates: new CpuRates(),
      userDatabases: new UserDatabases(runtime.rootfs),
      streaming: new StreamingServer({
        address: '127.0.0.1',
        port: 0,
        idleTimeoutMs: 0,
        logger: silentLogger,
      }),
      signal: new AbortController().signal,
    };
  }

  /** Whatever comes must be an answer or an error with a class: never a mistake of ours. */
  async function survives(handler: Unary<never, unknown>, request: unknown, call: Call): Promise<void> {
    try {
      await handler(request as never, call);
    } catch (error) {
      expect(error, error instanceof Error ? error.stack : '').to.be.instanceOf(RuntimeError);
      expect((error as RuntimeError).code, (error as Error).message).not.to.equal('Internal');
    }
  }

  for (const [name, method] of Object.entries({ ...RuntimeServiceService, ...ImageServiceService })) {
    if (method.responseStream) continue;
    it(`of ${name}, as random bytes`, async () => {
      const handler = { ...runtimeService, ...imageService }[name as keyof typeof imageService] as Unary<
        never,
        unknown
      >;
      const call = await openCall();
      await fc.assert(
        fc.asyncProperty(fc.uint8Array({ maxLength: 60 }), async (bytes) => {
          let request: unknown;
          try {
            request = method.requestDeserialize(Buffer.from(bytes));
          } catch {
            return;
          }
          await survives(handler, request, call);
        }),
        { numRuns: 100 },
      );
    });
  }

  const mounts = [{ containerPath: '/a', hostPath: '/', readonly: true, mountOptions: ['nodev'] }];
  const resources = {
    cpuPeriod: 100_000n,
    memoryLimitInBytes: 1n,
    unified: { 'memory.high': '1' },
    cpusetCpus: '0',
  };
  const whole = {
    runPodSandbox: RunPodSandboxRequest.fromPartial({
      config: podConfig({
        logDirectory: '',
        hostname: 'h',
        labels: { a: 'b' },
        dnsConfig: { servers: ['1.1.1.1'], searches: ['a'], options: ['b'] },
        portMappings: [{ containerPort: 1, hostPort: 1, hostIp: '1.1.1.1' }],
        linux: {
          cgroupParent: '/a',
          sysctls: { 'net.a.b': '1' },
          resources,
          securityContext: { runAsUser: { value: 1n } },
        },
      }),
    }),
    createContainer: CreateContainerRequest.fromPartial({
      config: containerConfig({
        command: ['a'],
        workingDir: '/a',
        envs: [{ key: 'a', value: Buffer.from('b') }],
        mounts,
        labels: { a: 'b' },
        annotations: { a: 'b' },
        logPath: 'a/b',
        linux: {
          resources,
          securityContext: {
            capabilities: { addCapabilities: ['BPF'], dropCapabilities: ['ALL'] },
            runAsUser: { value: 1n },
            runAsGroup: { value: 1n },
            supplementalGroups: [1n],
            maskedPaths: ['/a'],
            seccompProfilePath: 'unconfined',
            apparmorProfile: 'unconfined',
          },
        },
      }),
    }),
  };

  for (const [name, request] of Object.entries(whole)) {
    it(`of ${name}, whole but for some fields`, async () => {
      const call = await openCall();
      const pod = { config: podConfig({ logDirectory: '' }), runtimeHandler: '' };
      const { podSandboxId } = (await runtimeService.runPodSandbox(pod, call)) as { podSandboxId: string };
      const handler = runtimeService[name as keyof typeof whole] as Unary<never, unknown>;
      await survives(handler, { ...request, podSandboxId }, call);
      await fc.assert(
        fc.asyncProperty(
          fc.infiniteStream(fc.tuple(fc.nat(9), hostileText, hostileNumber)),
          async (stream) => {
            const choose = (): unknown => {
              const [dice, text, number] = stream.next().value as [number, string, bigint];
              return dice === 0 ? text : dice === 1 ? number : undefined;
            };
            const { config } = mutate({ config: request.config }, choose) as {
              config: typeof request.config;
            };
            // Host paths are made where they are missing: those of the test stay what they are.
            if (config !== undefined && 'mounts' in config)
              config.mounts.forEach((mount) => (mount.hostPath = '/'));
            if (config !== undefined && 'logDirectory' in config) config.logDirectory = '';
            await survives(handler, { ...request, config, podSandboxId }, call);
          },
        ),
        { numRuns: 1000 },
      );
    });
  }
});
