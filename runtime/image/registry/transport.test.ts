import { expect } from 'chai';
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import http from 'node:http';
import https from 'node:https';
import net, { type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { TLSSocket } from 'node:tls';
import { promisify } from 'node:util';
import { defaultTls, type TlsSettings } from './endpoint.js';
import { ConnectionError, Transport, type TransportRequest } from './transport.js';

const run = promisify(execFile);

/** A certificate authority with a certificate for 127.0.0.1 and registry.test, and one for a client. */
interface Certificates {
  readonly ca: string;
  readonly server: { cert: string; key: string };
  readonly client: { cert: string; key: string };
}

async function makeCertificates(directory: string): Promise<Certificates> {
  const openssl = (...args: string[]): Promise<unknown> => run('openssl', args, { cwd: directory });
  const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
  await openssl(
    'req',
    '-x509',
    ...newKey,
    '-keyout',
    'ca.key',
    '-out',
    'ca.pem',
    '-subj',
    '/CN=test authority',
  );
  for (const name of ['server', 'client']) {
    const names = ['-addext', 'subjectAltName=IP:127.0.0.1,DNS:registry.test'];
    await openssl(
      'req',
      '-new',
      ...newKey,
      '-keyout',
      `${name}.key`,
      '-out',
      `${name}.csr`,
      '-subj',
      `/CN=${name}`,
      ...names,
    );
    const signed = ['-CA', 'ca.pem', '-CAkey', 'ca.key', '-CAcreateserial', '-copy_extensions', 'copy'];
    await openssl('x509', '-req', '-in', `${name}.csr`, '-out', `${name}.pem`, ...signed);
  }
  const read = (name: string): Promise<string> => readFile(path.join(directory, name), 'utf8');
  const pair = async (name: string): Promise<{ cert: string; key: string }> => ({
    cert: await read(`${name}.pem`),
    key: await read(`${name}.key`),
  });
  return { ca: await read('ca.pem'), server: await pair('server'), client: await pair('client') };
}

const portOf = (server: net.Server): number => (server.address() as AddressInfo).port;

async function listen<T extends net.Server>(server: T): Promise<T> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return server;
}

describe('registry transport', () => {
  let directory: string;
  let certificates: Certificates;
  let secure: https.Server;
  let plain: http.Server;
  let transport: Transport;

  before(async function () {
    directory = await mkdtemp(path.join(tmpdir(), 'podwright-tls-'));
    try {
      certificates = await makeCertificates(directory);
    } catch (error) {
      console.log(`    skipped: needs the openssl program (${String(error).slice(0, 200)})`);
      return this.skip();
    }
    const answer: http.RequestListener = (request, response) => {
      const client = (request.socket as TLSSocket).getPeerCertificate?.().subject?.CN ?? 'nobody';
      response.end(`${request.headers.host} ${request.url} ${String(client)}`);
    };
    secure = await listen(
      https.createServer(
        { ...certificates.server, ca: certificates.ca, requestCert: true, rejectUnauthorized: false },
        answer,
      ),
    );
    plain = await listen(http.createServer(answer));
  });
  after(async () => {
    for (const server of [secure, plain]) server?.closeAllConnections();
    secure?.close();
    plain?.close();
    await rm(directory, { recursive: true, force: true });
  });
  beforeEach(() => {
    transport = new Transport({});
  });
  afterEach(() => transport.close());

  async function get(url: string, options: Partial<TransportRequest> = {}): Promise<string> {
    const response = await transport.send({
      url: new URL(url),
      method: 'GET',
      headers: {},
      tls: defaultTls,
      dialTimeoutMs: 5000,
      idleTimeoutMs: 5000,
      signal: new AbortController().signal,
      ...options,
    });
    const chunks: Uint8Array[] = [];
    for await (const chunk of response.body) chunks.push(chunk);
    return Buffer.concat(chunks).toString();
  }
  const failure = (url: string, options: Partial<TransportRequest> = {}): Promise<Error> =>
    get(url, options).then(
      (text) => Promise.reject(new Error(`it answered ${text}`)),
      (error: Error) => error,
    );
  const trusting = (): TlsSettings => ({ ...defaultTls, ca: [certificates.ca] });

  it('trusts the authority that is configured and no other', async () => {
    const url = `https://127.0.0.1:${portOf(secure)}/x`;
    expect(await get(url, { tls: trusting() })).to.equal(`127.0.0.1:${portOf(secure)} /x nobody`);
    const refused = await failure(url);
    expect(refused).to.be.instanceOf(ConnectionError).and.include({ transient: false });
    expect(refused.message).to.equal(`127.0.0.1:${portOf(secure)}: its certificate authority is not trusted`);
    expect(await get(url, { tls: { ...defaultTls, skipVerify: true } })).to.contain('/x');
  });

  it('refuses a certificate for another host', async () => {
    const refused = await failure(`https://localhost:${portOf(secure)}/`, { tls: trusting() });
    expect(refused.message).to.contain('its certificate is for another host');
  });

  it('shows a client certificate where one is configured', async () => {
    const url = `https://127.0.0.1:${portOf(secure)}/x`;
    expect(await get(url, { tls: { ...trusting(), client: [certificates.client] } })).to.contain('/x client');
    expect(await failure(url, { tls: { ...trusting(), client: [{ cert: 'no', key: 'no' }] } })).to.include({
      code: 'FailedPrecondition',
      reason: 'RegistryConfigInvalid',
    });
  });

  it('says when one side speaks TLS and the other does not', async () => {
    expect((await failure(`https://127.0.0.1:${portOf(plain)}/`)).message).to.contain(
      'plain http has to be configured',
    );
  });

  it('keeps connections for the next request', async () => {
    const connections = new Set<unknown>();
    plain.on('connection', (socket) => connections.add(socket));
    for (let round = 0; round < 5; round++) await get(`http://127.0.0.1:${portOf(plain)}/`);
    expect(connections.size).to.equal(1);
  });

  it('gives up on a host that does not answer, in time', async () => {
    const silent = await listen(net.createServer((socket) => socket.on('error', () => undefined)));
    const [host, cut] = [`127.0.0.1:${portOf(silent)}`, { dialTimeoutMs: 50, idleTimeoutMs: 100 }];
    expect((await failure(`https://${host}/`, cut)).message).to.equal(`${host}: no connection in 50 ms`);
    expect((await failure(`http://${host}/`, cut)).message).to.equal(`${host}: no answer in 100 ms`);
    const leaving = new AbortController();
    const left = failure(`http://${host}/`, { signal: leaving.signal });
    leaving.abort(new Error('left'));
    expect((await left).message).to.equal('left');
    await transport.close();
    silent.close();
  });

  describe('through a proxy', () => {
    let proxy: http.Server;
    let seen: string[];

    beforeEach(async () => {
      seen = [];
      proxy = http.createServer((request, response) => {
        seen.push(`${request.method} ${request.url} ${request.headers['proxy-authorization'] ?? ''}`.trim());
        response.end('from the proxy');
      });
      // Every name is our TLS server, "refused.test" is not let through.
      proxy.on('connect', (request: http.IncomingMessage, socket: net.Socket) => {
        seen.push(`CONNECT ${request.url} ${request.headers['proxy-authorization'] ?? ''}`.trim());
        if (request.url?.startsWith('refused.test')) return void socket.end('HTTP/1.1 403 Forbidden\r\n\r\n');
        const upstream = net.connect(portOf(secure), '127.0.0.1', () => {
          socket.write('HTTP/1.1 200 OK\r\n\r\n');
          upstream.pipe(socket).pipe(upstream);
        });
        upstream.on('error', () => socket.destroy());
        socket.on('error', () => upstream.destroy());
      });
      await listen(proxy);
      await transport.close();
      const address = `http://user:pass%20word@127.0.0.1:${portOf(proxy)}`;
      transport = new Transport({ HTTPS_PROXY: address, HTTP_PROXY: address });
    });
    afterEach(async () => {
      await transport.close();
      proxy.closeAllConnections();
      proxy.close();
    });
    const authorization = `Basic ${Buffer.from('user:pass word').toString('base64')}`;

    it('tunnels https and verifies the registry at the end of the tunnel', async () => {
      expect(await get('https://registry.test/a', { tls: trusting() })).to.equal('registry.test /a nobody');
      await get('https://registry.test/b', { tls: trusting() });
      expect(seen).to.deep.equal([`CONNECT registry.test:443 ${authorization}`]);
      expect((await failure('https://other.test/', { tls: trusting() })).message).to.contain(
        'certificate is for another host',
      );
    });

    it('names the proxy when it refuses', async () => {
      const refused = await failure('https://refused.test/', { tls: trusting() });
      expect(refused.message).to.contain(
        `proxy 127.0.0.1:${portOf(proxy)} answered 403 for refused.test:443`,
      );
      expect(refused.message).not.to.contain('pass');
    });

    it('sends http to the proxy itself', async () => {
      expect(await get('http://registry.test/a?b=c')).to.equal('from the proxy');
      expect(seen).to.deep.equal([`GET http://registry.test/a?b=c ${authorization}`]);
    });

    it('is not used for loopback', async () => {
      await get(`http://127.0.0.1:${portOf(plain)}/`);
      expect(seen).to.deep.equal([]);
    });
  });
});
