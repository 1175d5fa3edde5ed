import { readFile } from 'node:fs/promises';
import { eventually } from '../eventually.js';
import type { ControlPlane } from './control-plane.js';
import { makeKeyPair } from './key-pair.js';
import { nodeAddress } from './places.js';
import { ready, startProgram } from './program.js';
import { connectRest } from './rest.js';

/** The resource metrics API, which `kubectl top` asks. */
export interface MetricsServer {
  /** Ends it and takes it out of the API again. */
  end(): Promise<void>;
}

const port = 4443;
const namespace = 'kube-system';
const service = 'metrics-server';
const host = `${service}.${namespace}.svc`;

/** As a plain process on the node: pods reach nothing here, but the API server does. */
export async function startMetricsServer(controlPlane: ControlPlane): Promise<MetricsServer> {
  const { api, directory, kubeconfig } = controlPlane;
  const { key, certificate } = await makeKeyPair(directory, host, 'serverAuth');
  const server = await startProgram(
    'metrics-server',
    [
      ...['--kubeconfig', kubeconfig, '--authentication-kubeconfig', kubeconfig],
      ...[
        '--authorization-kubeconfig',
        kubeconfig,
        '--bind-address',
        nodeAddress,
        '--secure-port',
        `${port}`,
      ],
      ...['--tls-cert-file', certificate, '--tls-private-key-file', key],
      // The kubelet's certificate is self-made, and its name resolves nowhere here.
      ...['--kubelet-insecure-tls', '--kubelet-preferred-address-types', 'InternalIP'],
      // The shortest that it allows, which must be longer than it waits for a kubelet.
      ...['--metric-resolution', '10s', '--kubelet-request-timeout', '5s'],
    ],
    directory,
  );
  const own = connectRest(nodeAddress, port);
  const made: string[] = [];
  const end = async (): Promise<void> => {
    own.close();
    // The API first: what it cannot reach makes it fail for others.
    for (const path of made.toReversed()) await api.send('DELETE', path);
    await server.end();
  };
  try {
    // It calls itself ready only once it has seen a pod twice.
    await ready(server, async () => (await own.text('/livez')) === 'ok');
    for (const { collection, object } of objects(await readFile(certificate))) {
      await api.send('POST', collection, object);
      made.push(`${collection}/${object.metadata.name}`);
    }
    await eventually(() => isServed(controlPlane), Boolean, 60_000);
    return { end };
  } catch (error) {
    await end();
    throw error;
  }
}

async function isServed({ api }: ControlPlane): Promise<boolean> {
  return api.get('/apis/metrics.k8s.io/v1beta1/nodes').then(
    () => true,
    () => false,
  );
}

interface Made {
  /** The path of its like. */
  readonly collection: string;
  readonly object: Readonly<Record<string, unknown>> & { readonly metadata: Metadata };
}

interface Metadata {
  readonly name: string;
  readonly namespace?: string;
  readonly labels?: Readonly<Record<string, string>>;
}

/** How the API server finds it, without a kube-proxy: by the addresses of the service. */
function objects(certificate: Buffer): readonly Made[] {
  const metadata = { name: service, namespace };
  const ports = [{ name: 'https', port: 443 }];
  return [
    {
      collection: `/api/v1/namespaces/${namespace}/services`,
      object: { apiVersion: 'v1', kind: 'Service', metadata, spec: { ports } },
    },
    {
      collection: `/apis/discovery.k8s.io/v1/namespaces/${namespace}/endpointslices`,
      object: {
        ...{ apiVersion: 'discovery.k8s.io/v1', kind: 'EndpointSlice', addressType: 'IPv4' },
        metadata: { ...metadata, labels: { 'kubernetes.io/service-name': service } },
        ...{ endpoints: [{ addresses: [nodeAddress] }], ports: [{ name: 'https', port }] },
      },
    },
    {
      collection: '/apis/apiregistration.k8s.io/v1/apiservices',
      object: {
        ...{ apiVersion: 'apiregistration.k8s.io/v1', kind: 'APIService' },
        metadata: { name: 'v1beta1.metrics.k8s.io' },
        spec: {
          ...{ group: 'metrics.k8s.io', version: 'v1beta1', service: metadata },
          ...{ groupPriorityMinimum: 100, versionPriority: 100, caBundle: certificate.toString('base64') },
        },
      },
    },
  ];
}
