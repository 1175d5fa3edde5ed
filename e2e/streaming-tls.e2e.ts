import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { connect } from 'node:tls';
import { promisify } from 'node:util';
import { expect } from 'chai';
import {
  type Bed,
  type Workload,
  containerConfig,
  hostNetwork,
  openBed,
  runContainer,
  runPod,
} from './bed.js';
import { startDaemon } from './daemon.js';
import { openCommand, runToEnd, transports } from './streaming-client.js';
import { execUrl } from './streaming-urls.js';

interface KeyPair {
  readonly cert: string;
  readonly key: string;
}

/** The streaming server with TLS: keys made by the daemon, keys of files, and what happens when those change. */
describe('streaming over TLS', function () {
  let directory = '';
  const files = () => ({ cert: path.join(directory, 'tls.crt'), key: path.join(directory, 'tls.key') });
  const settings = () => ({
    'streaming.tls': 'files',
    'streaming.cert_file': files().cert,
    'streaming.key_file': files().key,
  });

  before(async () => {
    directory = await mkdtemp(path.join(tmpdir(), 'pw-tls-'));
  });
  after(async () => {
    await rm(directory, { recursive: true });
  });

  const withTarget = async (
    options: Readonly<Record<string, string>>,
    use: (bed: Bed, target: Workload) => Promise<void>,
  ): Promise<void> => {
    await using bed = await openBed({ settings: options });
    const pod = await runPod(bed, 'tls', hostNetwork);
    await use(bed, await runContainer(bed, pod, containerConfig(bed, 'target', ['sleep', '3600'])));
    await bed.end();
  };
  const wanted = { stdin: true, stdout: true };

  it('with a key pair of its own making', async () => {
    await withTarget({ 'streaming.tls': 'self-signed' }, async (bed, target) => {
      for (const transport of transports) {
        const url = await execUrl(bed, target, 'cat', wanted);
        expect(url).to.match(/^https:\/\/127\.0\.0\.1:\d+\/exec\//);
        const { stdout } = await runToEnd(await openCommand(url, transport, wanted), 'x'.repeat(500_000));
        expect(stdout.length).to.equal(500_000);
      }
      const { port } = new URL(await execUrl(bed, target, 'true', wanted));
      const socket = connect({ port: Number(port), host: '127.0.0.1', rejectUnauthorized: false });
      await once(socket, 'secureConnect');
      const certificate = socket.getPeerX509Certificate();
      expect(certificate?.checkIP('127.0.0.1')).to.equal('127.0.0.1');
      expect(certificate?.checkHost('localhost')).to.equal('localhost');
      socket.destroy();
      for (const [version, accepted] of [
        ['TLSv1.1', false],
        ['TLSv1.2', true],
      ] as const) {
        const attempt = connect({
          port: Number(port),
          host: '127.0.0.1',
          rejectUnauthorized: false,
          minVersion: version,
          maxVersion: version,
          // OpenSSL's own default refuses the old version already here.
          ciphers: 'ALL:@SECLEVEL=0',
        });
        attempt.on('error', () => undefined);
        const outcome = await Promise.race([
          once(attempt, 'secureConnect').then(() => true),
          once(attempt, 'close').then(() => false),
        ]).catch(() => false);
        expect([version, outcome]).to.deep.equal([version, accepted]);
        attempt.destroy();
      }
    });
  });

  it('with the key pair of files, which may change while sessions go on', async () => {
    const [first, second] = [await makeKeyPair(directory), await makeKeyPair(directory)];
    const put = async (pair: KeyPair): Promise<void> => {
      for (const name of ['key', 'cert'] as const) {
        await writeFile(`${files()[name]}.new`, pair[name]);
        await rename(`${files()[name]}.new`, files()[name]);
      }
    };
    await put(first);
    await withTarget(settings(), async (bed, target) => {
      const cat = async (ca: string) =>
        openCommand(await execUrl(bed, target, 'cat', wanted), 'websocket', { ...wanted, ca });
      const old = await cat(first.cert);
      old.stdin.write('before ');
      await put(second);
      expect((await runToEnd(await cat(second.cert), 'new')).stdout.toString()).to.equal('new');
      const refused: unknown = await cat(first.cert).catch((error: unknown) => error);
      expect(String(refused)).to.match(/self-signed certificate|unable to verify/);
      // Half a pair is none: the last one serves on.
      await writeFile(files().cert, first.cert);
      expect((await runToEnd(await cat(second.cert), 'still')).stdout.toString()).to.equal('still');
      expect(await bed.daemon.readLog()).to.contain('it is not the key of the certificate');
      expect((await runToEnd(old, 'after')).stdout.toString()).to.equal('before after');
    });
  });

  it('not with a key pair that is of no use', async () => {
    const pair = await makeKeyPair(directory);
    const refusal = async (options: Readonly<Record<string, string>>): Promise<string> => {
      const error: unknown = await startDaemon({ settings: options }).then(
        async (daemon) => {
          await daemon.destroy();
          return 'it started';
        },
        (failure: unknown) => failure,
      );
      return String(error);
    };
    await writeFile(files().cert, pair.cert);
    await writeFile(files().key, 'nonsense');
    expect(await refusal(settings())).to.match(
      /streaming server: read key pair \S+tls\.key: it holds no private key/,
    );
    await rm(files().cert);
    expect(await refusal(settings())).to.match(/streaming server: read key pair \S+tls\.crt: ENOENT/);
    expect(await refusal({ 'streaming.tls': 'files' })).to.contain(
      "streaming.tls: 'files' needs cert_file and key_file",
    );
  });
});

/** With Debian's openssl: another make than the daemon's own. */
async function makeKeyPair(directory: string): Promise<KeyPair> {
  const [key, cert] = ['made.key', 'made.crt'].map((name) => path.join(directory, name));
  if (key === undefined || cert === undefined) throw new Error('no names');
  await promisify(execFile)('openssl', [
    ...['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-subj', '/CN=test'],
    ...['-addext', 'subjectAltName=IP:127.0.0.1,DNS:localhost', '-keyout', key, '-out', cert],
  ]);
  return { cert: await readFile(cert, 'utf8'), key: await readFile(key, 'utf8') };
}
