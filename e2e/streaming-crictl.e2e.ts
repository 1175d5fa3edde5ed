import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { access, writeFile } from 'node:fs/promises';
import net from 'node:net';
import path from 'node:path';
import { text } from 'node:stream/consumers';
import { expect } from 'chai';
import { type Bed, type Pod, type Workload, containerConfig, exitOf, hostNetwork, openBed } from './bed.js';
import { runContainer, runPod } from './bed.js';
import { tool } from './places.js';
import { transports } from './streaming-client.js';
import { noExecCgroups } from './streaming-urls.js';

interface Outcome {
  readonly stdout: string;
  readonly stderr: string;
  readonly code: number | null;
}

/** crictl's own sessions, over either transport: the clients that the Kubernetes libraries make. */
describe('crictl sessions', function () {
  let bed: Bed;
  let pod: Pod;
  let target: Workload;

  before(async function () {
    await access(tool('crictl')).catch(() => this.skip());
    bed = await openBed();
    await writeFile(path.join(bed.daemon.instance.scratch, 'crictl.yaml'), '');
    pod = await runPod(bed, 'crictl', hostNetwork);
    target = await runContainer(bed, pod, containerConfig(bed, 'target', ['sleep', '3600']));
  });
  after(async () => {
    await bed?.end();
  });

  const command = (args: readonly string[]): readonly string[] => {
    const socket = `unix://${bed.daemon.socket}`;
    const config = path.join(bed.daemon.instance.scratch, 'crictl.yaml');
    return [tool('crictl'), '--config', config, '-r', socket, '-i', socket, ...args];
  };
  const run = async ([file = '', ...args]: readonly string[], input: string): Promise<Outcome> => {
    const child = spawn(file, args, { stdio: 'pipe' });
    const exited = once(child, 'exit') as Promise<[number | null]>;
    child.stdin.on('error', () => undefined);
    child.stdin.end(input);
    const [stdout, stderr, [code]] = await Promise.all([text(child.stdout), text(child.stderr), exited]);
    return { stdout, stderr, code };
  };
  const crictl = async (args: readonly string[], input = ''): Promise<Outcome> => run(command(args), input);
  /** On a terminal of its own, which script(1) makes. */
  const onTerminal = async (args: readonly string[], input: string): Promise<Outcome> => {
    const line = command(args).map((word) => `'${word}'`);
    return run(['script', '-qec', line.join(' '), '/dev/null'], input);
  };

  for (const transport of transports) {
    describe(`over ${transport}`, () => {
      it('exec -i takes piped input', async () => {
        const input = 'line\n'.repeat(50_000);
        const args = [
          'exec',
          '--transport',
          transport,
          '-i',
          target.id,
          'sh',
          '-c',
          'md5sum; echo error >&2',
        ];
        const { stdout, stderr, code } = await crictl(args, input);
        expect(stdout).to.equal(`${createHash('md5').update(input).digest('hex')}  -\n`);
        expect(stderr).to.contain('error');
        expect(code).to.equal(0);
      });

      it('exec ends with the code of the command', async () => {
        const args = ['exec', '--transport', transport, target.id, 'sh', '-c', 'echo out; exit 7'];
        const { stdout, stderr, code } = await crictl(args);
        expect(stdout).to.contain('out');
        expect(stderr).to.match(/exit (code|status) 7/);
        expect(code).not.to.equal(0);
      });

      it('exec -it gives a terminal', async () => {
        const script = 'tty; read line; echo "got $line"';
        const args = ['exec', '--transport', transport, '-it', target.id, 'sh', '-c', script];
        const { stdout, code } = await onTerminal(args, 'typed\n');
        expect(stdout).to.match(/\/dev\/pts\/\d+\r\n[^]*got typed\r\n/);
        expect(code).to.equal(0);
        await noExecCgroups(bed, target);
      });

      it('attach -i feeds the container', async () => {
        const config = containerConfig(bed, `attached-${transport}`, 'cat; echo end of input', {
          stdin: true,
          stdinOnce: true,
        });
        const { id } = await runContainer(bed, pod, config);
        const { stdout, code } = await crictl(['attach', '--transport', transport, '-i', id], 'fed\n');
        expect(stdout).to.equal('fed\nend of input\n');
        expect(code).to.equal(0);
        expect((await exitOf(bed, id)).exitCode).to.equal(0);
      });

      it('port-forward carries several connections', async () => {
        const server = net.createServer({ allowHalfOpen: true }, (socket) => socket.pipe(socket));
        server.listen(0, '127.0.0.1');
        await once(server, 'listening');
        const { port } = server.address() as net.AddressInfo;
        const [file = '', ...args] = command(['port-forward', '--transport', transport, pod.id, `0:${port}`]);
        const child = spawn(file, args, { stdio: 'pipe' });
        try {
          let said = '';
          while (!/Forwarding from 127\.0\.0\.1:\d+/.test(said)) {
            const [chunk] = (await once(child.stdout, 'data')) as [Buffer];
            said += chunk.toString();
          }
          const local = Number(/127\.0\.0\.1:(\d+)/.exec(said)?.[1]);
          const echo = async (message: string): Promise<string> => {
            const socket = net.connect({ port: local, host: '127.0.0.1', allowHalfOpen: true });
            socket.end(message);
            return text(socket);
          };
          const messages = Array.from({ length: 5 }, (_, index) => `${index}`.repeat(100_000));
          expect(await Promise.all(messages.map(echo))).to.deep.equal(messages);
        } finally {
          child.kill('SIGKILL');
          server.close();
        }
      });
    });
  }
});
