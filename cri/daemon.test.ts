import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { access, mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { Client, credentials } from '@grpc/grpc-js';
import { expect } from 'chai';
import { RuntimeServiceService } from '../protos/gen/cri/runtime/v1/api.js';
import { ask } from './testing/server.js';

const program = fileURLToPath(new URL('main.js', import.meta.url));

interface Run {
  readonly code: number | null;
  readonly output: string;
  readonly errors: string;
}

async function run(...args: readonly string[]): Promise<Run> {
  const child = spawn(process.execPath, [program, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  let errors = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (output += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (errors += text));
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, output, errors };
}

describe('the command line', function () {
  this.timeout(20_000);

  it('tells its version', async () => {
    expect(await run('version')).to.deep.include({ code: 0, output: 'podwright 0.1.0\n', errors: '' });
  });

  it('prints the configuration in effect', async () => {
    const { code, output } = await run(
      'config',
      '--config',
      '/dev/null',
      '--root',
      '/r',
      '--set',
      'log.format=json',
    );
    expect(code).to.equal(0);
    expect(output)
      .to.match(/\(--set\)\nroot = "\/r"\n/)
      .and.to.match(/\[log\][^[]*\nformat = "json"\n/);
  });

  it('prints the reference that is committed', async () => {
    const { output } = await run('config', '--reference');
    // From dist/cri.
    expect(output).to.equal(await readFile(new URL('../../cri/CONFIG.md', import.meta.url), 'utf8'));
  });

  it('says that no daemon answers', async () => {
    const { code, errors } = await run(
      'why',
      'web',
      '--config',
      '/dev/null',
      '--socket',
      '/nowhere/cri.sock',
    );
    expect(code).to.equal(1);
    expect(errors).to.match(/^podwright: ask the daemon at \/nowhere\/cri\.sock: .*\n$/);
  });

  for (const [args, says] of [
    [['why'], 'podwright: why needs a pod, a container or an image '],
    [['serve', '--json'], 'podwright: --json is an option of why '],
    [[], 'podwright: no command '],
    [['fly'], 'podwright: no command fly '],
    [['serve', 'now'], 'podwright: unexpected argument now '],
    [['serve', '--nope'], "podwright: Unknown option '--nope'"],
    [['serve', '--config', '/nonexistent.toml'], 'podwright: read configuration: ENOENT'],
    [
      ['serve', '--config', '/dev/null', '--set', 'log.level=loud'],
      'podwright: configuration: --set: log.level: ',
    ],
  ] as [string[], string][]) {
    it(`refuses ${JSON.stringify(args)} in one line`, async () => {
      const { code, output, errors } = await run(...args);
      expect([code, output]).to.deep.equal([1, '']);
      expect(errors).to.match(/^[^\n]+\n$/);
      expect(errors.startsWith(says), errors).to.equal(true);
    });
  }
});

describe('the daemon', function () {
  this.timeout(30_000);
  let scratch: string;
  const running = new Set<ChildProcess>();

  before(function () {
    if (process.getuid?.() !== 0) {
      // Mounts, cgroups and namespaces need it.
      this.test?.parent?.tests.forEach((test) => (test.title += ' (needs root)'));
      this.skip();
    }
  });
  beforeEach(async () => {
    scratch = await mkdtemp(path.join(os.tmpdir(), 'pw-cri-'));
  });
  afterEach(async () => {
    for (const child of running) child.kill('SIGKILL');
    running.clear();
    await rm(scratch, { recursive: true, force: true });
  });

  /** Resolves when the daemon says that it is ready; rejects with its log when it ends before. */
  async function start(root = 'root', socket = 'cri.sock', file = '/dev/null'): Promise<ChildProcess> {
    const at = (name: string): string => path.join(scratch, name);
    const directories = ['--root', at(root), '--state', at('state'), '--socket', at(socket)];
    const settings = [
      `network.conf_dir=${at('cni')}`,
      'cgroup.parent=/podwright-test-cri',
      'log.format=json',
    ];
    const child = spawn(
      process.execPath,
      [program, 'serve', '--config', file, ...directories, ...settings.flatMap((text) => ['--set', text])],
      { stdio: ['ignore', 'ignore', 'pipe'] },
    );
    running.add(child);
    child.once('exit', () => running.delete(child));
    const lines: string[] = [];
    for await (const line of createInterface({ input: child.stderr })) {
      lines.push(line);
      if (line.includes('"message":"ready"')) return child;
    }
    throw new Error(lines.join('\n'));
  }

  async function end(child: ChildProcess, signal: NodeJS.Signals): Promise<number | null> {
    const exited = once(child, 'exit') as Promise<[number | null]>;
    child.kill(signal);
    return (await exited)[0];
  }

  async function answers(socket = 'cri.sock'): Promise<string> {
    const client = new Client(`unix:${path.join(scratch, socket)}`, credentials.createInsecure());
    try {
      return (await ask(client, RuntimeServiceService.version, { version: '' })).runtimeName;
    } finally {
      client.close();
    }
  }

  it('serves until it is told to end, and takes its socket with it', async () => {
    const child = await start();
    expect(await answers()).to.equal('podwright');
    expect((await stat(path.join(scratch, 'cri.sock'))).mode & 0o777).to.equal(0o660);
    for (const directory of ['root', 'state']) {
      expect((await stat(path.join(scratch, directory))).mode & 0o777, directory).to.equal(0o700);
    }
    expect(await end(child, 'SIGTERM')).to.equal(0);
    await access(path.join(scratch, 'cri.sock')).then(
      () => expect.fail('the socket is still there'),
      (error: unknown) => expect(error).to.have.property('code', 'ENOENT'),
    );
  });

  it('takes over from one that was killed', async () => {
    await end(await start(), 'SIGKILL');
    await access(path.join(scratch, 'cri.sock'));
    await start();
    expect(await answers()).to.equal('podwright');
  });

  it('reads its configuration again when it is told to', async () => {
    const file = path.join(scratch, 'config.toml');
    await writeFile(file, '[log]\nlevel = "info"\n');
    const child = await start('root', 'cri.sock', file);
    const lines = createInterface({ input: child.stderr as Readable })[Symbol.asyncIterator]();
    const line = async (message: string): Promise<Record<string, unknown>> => {
      for (;;) {
        const { value, done } = (await lines.next()) as IteratorResult<string, undefined>;
        if (done === true) throw new Error(`it did not say "${message}"`);
        const entry = JSON.parse(value) as Record<string, unknown>;
        if (entry['message'] === message) return entry;
      }
    };
    await mkdir(path.join(scratch, 'conf.d'));
    const dropIn = path.join(scratch, 'conf.d/10-debug.toml');
    await writeFile(dropIn, '[log]\nlevel = "debug"\n[limits]\nshutdown_grace_seconds = 3\n');
    child.kill('SIGHUP');
    const { waitingForRestart } = await line('configuration read again');
    expect(waitingForRestart).to.deep.equal(['limits.shutdown_grace_seconds']);
    await answers();
    expect(await line('rpc answered')).to.include({ level: 'debug', rpc: 'version' });
    await writeFile(dropIn, 'log.level = "loud"\n');
    child.kill('SIGHUP');
    const { error } = await line('configuration refused, the old one stays');
    expect(error).to.contain(`${dropIn}:1: log.level: `);
    expect(await end(child, 'SIGTERM')).to.equal(0);
  });

  it('does not share its root, nor its socket', async () => {
    await start();
    const refusals = [start('root', 'other.sock'), start('other', 'cri.sock')].map((starting) =>
      starting.then(
        () => 'started',
        (error: unknown) => String(error),
      ),
    );
    for (const refusal of await Promise.all(refusals))
      expect(refusal).to.match(/podwright: .*(another|in use|lock)/);
    expect(await answers()).to.equal('podwright');
  });
});
