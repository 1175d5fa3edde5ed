import { once } from 'node:events';
import net from 'node:net';
import { text } from 'node:stream/consumers';
import { expect } from 'chai';
import {
  type Bed,
  type Pod,
  containerConfig,
  exec,
  hostNetwork,
  openBed,
  runContainer,
  runPod,
} from './bed.js';
import { eventually } from './eventually.js';
import { type ForwardClient, openForwards, transports } from './streaming-client.js';
import { forwardUrl } from './streaming-urls.js';
import { openMessages } from './streaming-websocket.js';

/** Port forwarding into pods with a network of their own, and on the host's. */
describe('port forwarding', function () {
  let bed: Bed;
  let pod: Pod;
  let hostPod: Pod;

  before(async () => {
    bed = await openBed();
    pod = await runPod(bed, 'forward');
    hostPod = await runPod(bed, 'host', hostNetwork);
    const script = `mkdir /v4 /v6; echo over-v4 >/v4/index.html; echo over-v6 >/v6/index.html
      httpd -p 127.0.0.1:8004 -h /v4; httpd -p '[::1]:8006' -h /v6; exec nc -ll -p 8000 -e cat`;
    const servers = await runContainer(bed, pod, containerConfig(bed, 'servers', script));
    const listening = async (): Promise<string> =>
      (await exec(bed, servers.id, 'cat /proc/net/tcp /proc/net/tcp6')).stdout;
    const ports = [8000, 8004, 8006].map((port) => `:${port.toString(16).toUpperCase()} `);
    await eventually(listening, (found) => ports.every((port) => found.includes(port)));
  });
  after(async () => {
    await bed?.end();
  });

  const get = async (client: ForwardClient, port: number): Promise<string> => {
    const { data } = client.connect(port);
    data.write('GET / HTTP/1.0\r\n\r\n');
    return text(data);
  };
  /** A port of the host that nobody listens on. */
  const freePort = async (): Promise<number> => {
    const server = net.createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as net.AddressInfo;
    await new Promise((resolve) => server.close(resolve));
    return port;
  };

  for (const transport of transports) {
    describe(`over ${transport}`, () => {
      const open = async ({ id }: Pod): Promise<ForwardClient> =>
        openForwards(await forwardUrl(bed, id), transport);

      it('reaches what listens on the loopback, IPv4 or IPv6', async () => {
        const client = await open(pod);
        expect(await get(client, 8004))
          .to.contain('200 OK')
          .and.to.contain('over-v4');
        expect(await get(client, 8006))
          .to.contain('200 OK')
          .and.to.contain('over-v6');
        client.socket.destroy();
      });

      it('tells on the error stream that nobody listens, and serves on', async () => {
        for (const [where, port] of [
          [pod, 9],
          [hostPod, await freePort()],
        ] as const) {
          const client = await open(where);
          const { data, error } = client.connect(port);
          expect(await error).to.match(
            new RegExp(`^forward port ${port} of pod sandbox ${where.id}: .*ECONNREFUSED`),
          );
          if (!data.destroyed) await once(data, 'close');
          if (where === pod) expect(await get(client, 8004)).to.contain('over-v4');
          client.socket.destroy();
        }
      });

      it('carries several connections at once over one session', async () => {
        const client = await open(pod);
        const refused = client.connect(9);
        const echoes = Array.from({ length: 8 }, async (_, index) => {
          const { data, error } = client.connect(8000);
          const message = `${index}`.repeat(50_000);
          data.end(message);
          expect(await text(data)).to.equal(message);
          expect(await error).to.equal('');
        });
        await Promise.all(echoes);
        expect(await refused.error).to.contain('ECONNREFUSED');
        client.socket.destroy();
      });

      it('reaches the host from a pod on its network, IPv6 as well', async () => {
        const server = net.createServer((socket) => socket.end('from the host'));
        server.listen(0, '::1');
        await once(server, 'listening');
        const client = await open(hostPod);
        const { data } = client.connect((server.address() as net.AddressInfo).port);
        expect(await text(data)).to.equal('from the host');
        client.socket.destroy();
        server.close();
      });

      it('ends with the client, and the connections in the pod with it', async () => {
        const connections = new Set<net.Socket>();
        const server = net.createServer((socket) => connections.add(socket.on('error', () => undefined)));
        server.listen(0, '127.0.0.1');
        await once(server, 'listening');
        const client = await open(hostPod);
        client.connect((server.address() as net.AddressInfo).port).data.write('x');
        const [socket] = (await once(server, 'connection')) as [net.Socket];
        socket.resume();
        client.socket.destroy();
        await once(socket, 'close');
        server.close();
      });
    });
  }

  it('serves channels to old WebSocket clients', async () => {
    const received: Buffer[][] = [[], []];
    const url = await forwardUrl(bed, pod.id, [8000]);
    const messages = await openMessages(url, ['v4.channel.k8s.io'], {
      onMessage: (message) => received[message[0] ?? -1]?.push(message.subarray(1)),
    });
    messages.send(Buffer.from('\0hello'));
    const data = await eventually(
      async () => Buffer.concat(received[0] ?? []),
      (bytes) => bytes.length === 7,
    );
    expect([data.readUInt16LE(), data.subarray(2).toString()]).to.deep.equal([8000, 'hello']);
    expect(Buffer.concat(received[1] ?? []).readUInt16LE()).to.equal(8000);
    messages.socket.destroy();
  });
});
