import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { eventually } from '../eventually.js';
import { makeKeyPair, type KeyPair } from './key-pair.js';
import { nodeAddress } from './places.js';
import { ready, startProgram, type Program } from './program.js';
import { connectRest, type Rest } from './rest.js';

/** etcd, API server, controller manager and scheduler. */
export interface ControlPlane {
  readonly api: Rest;
  /** Whoever holds it may do everything. */
  readonly kubeconfig: string;
  /** Of the logs and credentials of its parts. */
  readonly directory: string;
  end(): Promise<void>;
}

const port = 6443;
const aggregatorName = 'aggregator';

export async function startControlPlane(directory: string): Promise<ControlPlane> {
  const started: Program[] = [];
  const start = async (name: string, args: readonly string[]): Promise<Program> => {
    const program = await startProgram(name, args, directory);
    started.push(program);
    return program;
  };
  const end = async (): Promise<void> => {
    // The last first: nothing is to complain about what it lost.
    for (const program of started.toReversed()) await program.end('SIGKILL');
  };
  try {
    const credentials = await writeCredentials(directory);
    await start('etcd', etcdArguments(directory));
    const server = await start('kube-apiserver', serverArguments(credentials));
    const api = connectRest('127.0.0.1', port, credentials.token);
    await ready(server, async () => (await api.text('/readyz')) === 'ok');
    await start('kube-controller-manager', controllerArguments(credentials));
    await start('kube-scheduler', ['--kubeconfig', credentials.kubeconfig, '--leader-elect=false']);
    await eventually(() => hasAccount(api), Boolean, 60_000);
    return {
      ...{ api, directory, kubeconfig: credentials.kubeconfig },
      end: async () => {
        api.close();
        await end();
      },
    };
  } catch (error) {
    await end();
    throw error;
  }
}

/** Before the controller manager has made it, the API server refuses pods. */
async function hasAccount(api: Rest): Promise<boolean> {
  return api.get('/api/v1/namespaces/default/serviceaccounts/default').then(
    () => true,
    () => false,
  );
}

interface Credentials {
  readonly token: string;
  readonly tokenFile: string;
  readonly kubeconfig: string;
  /** Signs the tokens of service accounts. */
  readonly accountKey: string;
  readonly accountPublicKey: string;
  /** Of the certificate that the API server makes for itself. */
  readonly certificates: string;
  /** What the API server shows to servers that it asks on behalf of others. */
  readonly aggregator: KeyPair;
}

async function writeCredentials(directory: string): Promise<Credentials> {
  const file = (name: string): string => path.join(directory, name);
  const token = randomBytes(16).toString('hex');
  const credentials: Credentials = {
    token,
    tokenFile: file('tokens.csv'),
    kubeconfig: file('kubeconfig.json'),
    accountKey: file('accounts.key'),
    accountPublicKey: file('accounts.pub'),
    certificates: file('certificates'),
    aggregator: await makeKeyPair(directory, aggregatorName, 'clientAuth'),
  };
  const { privateKey, publicKey } = generateKeyPairSync('rsa', {
    modulusLength: 2048,
    publicKeyEncoding: { type: 'spki', format: 'pem' },
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
  });
  await mkdir(credentials.certificates);
  await writeFile(credentials.tokenFile, `${token},admin,admin,system:masters\n`, { mode: 0o600 });
  await writeFile(credentials.accountKey, privateKey, { mode: 0o600 });
  await writeFile(credentials.accountPublicKey, publicKey);
  await writeFile(credentials.kubeconfig, JSON.stringify(kubeconfig(token)), { mode: 0o600 });
  return credentials;
}

function kubeconfig(token: string): unknown {
  const server = `https://127.0.0.1:${port}`;
  return {
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name: 'test', cluster: { server, 'insecure-skip-tls-verify': true } }],
    users: [{ name: 'admin', user: { token } }],
    contexts: [{ name: 'test', context: { cluster: 'test', user: 'admin' } }],
    'current-context': 'test',
  };
}

function etcdArguments(directory: string): readonly string[] {
  const url = 'http://127.0.0.1:2379';
  const peer = 'http://127.0.0.1:2380';
  return [
    ...['--data-dir', path.join(directory, 'etcd'), '--unsafe-no-fsync', '--log-level', 'warn'],
    ...['--listen-client-urls', url, '--advertise-client-urls', url],
    ...[
      '--listen-peer-urls',
      peer,
      '--initial-advertise-peer-urls',
      peer,
      '--initial-cluster',
      `default=${peer}`,
    ],
  ];
}

function serverArguments(credentials: Credentials): readonly string[] {
  return [
    '--etcd-servers=http://127.0.0.1:2379',
    `--bind-address=127.0.0.1`,
    `--secure-port=${port}`,
    `--advertise-address=${nodeAddress}`,
    `--cert-dir=${credentials.certificates}`,
    `--token-auth-file=${credentials.tokenFile}`,
    '--authorization-mode=AlwaysAllow',
    '--service-cluster-ip-range=10.96.0.0/16',
    '--service-account-issuer=https://kubernetes.default.svc',
    `--service-account-key-file=${credentials.accountPublicKey}`,
    `--service-account-signing-key-file=${credentials.accountKey}`,
    '--allow-privileged',
    // Names of nodes resolve nowhere here.
    '--kubelet-preferred-address-types=InternalIP',
    ...aggregatorArguments(credentials.aggregator),
  ];
}

/** Parts of the API may be served by others, who are found by the addresses of their services: there is no kube-proxy. */
function aggregatorArguments({ key, certificate }: KeyPair): readonly string[] {
  return [
    `--proxy-client-cert-file=${certificate}`,
    `--proxy-client-key-file=${key}`,
    `--requestheader-client-ca-file=${certificate}`,
    `--requestheader-allowed-names=${aggregatorName}`,
    '--requestheader-username-headers=X-Remote-User',
    '--requestheader-group-headers=X-Remote-Group',
    '--requestheader-extra-headers-prefix=X-Remote-Extra-',
    '--enable-aggregator-routing',
  ];
}

function controllerArguments(credentials: Credentials): readonly string[] {
  return [
    ...['--kubeconfig', credentials.kubeconfig, '--leader-elect=false'],
    ...['--service-account-private-key-file', credentials.accountKey],
    // No pod starts without the authority's certificate in its token volume.
    ...['--root-ca-file', path.join(credentials.certificates, 'apiserver.crt')],
  ];
}
