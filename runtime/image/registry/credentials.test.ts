import { expect } from 'chai';
import fc from 'fast-check';
import { RuntimeError } from '../../errors.js';
import type { RegistryAuth } from '../types.js';
import { parseChallenges } from './challenge.js';
import { credentialsFor, fingerprint } from './credentials.js';
import { defaultTls, type Endpoint } from './endpoint.js';

function endpoint(host: string, mirror = false): Endpoint {
  return {
    origin: `https://${host}`,
    host,
    prefix: '/v2',
    resolves: true,
    mirror,
    tls: defaultTls,
    headers: {},
    dialTimeoutMs: 1,
  };
}

const user = { username: 'u', password: 'p' };
const basic = { kind: 'basic', ...user };

describe('registry credentials', () => {
  const forms: readonly (readonly [string, RegistryAuth, object])[] = [
    ['user and password', user, basic],
    [
      'auth',
      { auth: Buffer.from('u:p:q\0\0').toString('base64') },
      { kind: 'basic', username: 'u', password: 'p:q' },
    ],
    ['an identity token', { identityToken: 'i', username: 'u' }, { kind: 'identity', token: 'i' }],
    ['a registry token', { registryToken: 'r', identityToken: 'i' }, { kind: 'bearer', token: 'r' }],
    ['nothing', {}, { kind: 'none' }],
    ['empty strings', { username: '', password: '', auth: '' }, { kind: 'none' }],
  ];
  for (const [name, auth, expected] of forms)
    it(`reads ${name}`, () =>
      expect(credentialsFor(auth, endpoint('quay.io'), 'quay.io')).to.deep.equal(expected));

  const goes: readonly (readonly [string, string | undefined, Endpoint, string, boolean])[] = [
    ['to the registry', undefined, endpoint('quay.io'), 'quay.io', true],
    ['never to a mirror by itself', undefined, endpoint('mirror.example', true), 'quay.io', false],
    [
      'to a mirror that the address names',
      'mirror.example',
      endpoint('mirror.example', true),
      'quay.io',
      true,
    ],
    ['not to the registry then', 'mirror.example', endpoint('quay.io'), 'quay.io', false],
    ['to the host of an address with path', 'https://quay.io/v1/', endpoint('quay.io'), 'quay.io', true],
    ['not to another port', 'quay.io', endpoint('quay.io:5000'), 'quay.io:5000', false],
    [
      'not to a host that begins the same',
      'quay.io',
      endpoint('quay.io.evil.example'),
      'quay.io.evil.example',
      false,
    ],
    ['not by a pattern', '*.example', endpoint('a.example'), 'a.example', false],
    [
      "to Docker Hub by docker's old name",
      'https://index.docker.io/v1/',
      endpoint('registry-1.docker.io'),
      'docker.io',
      true,
    ],
  ];
  for (const [name, serverAddress, to, domain, expected] of goes)
    it(`goes ${name}`, () =>
      expect(credentialsFor({ ...user, serverAddress }, to, domain).kind).to.equal(
        expected ? 'basic' : 'none',
      ));

  it('refuses what no header takes, without saying it', () => {
    for (const auth of [
      { registryToken: 'secret\r\nx: y' },
      { identityToken: 'secret value' },
      { auth: 'c2VjcmV0' },
    ])
      expect(() => credentialsFor(auth, endpoint('quay.io'), 'quay.io'))
        .to.throw(RuntimeError)
        .that.satisfies(
          (error: RuntimeError) => error.code === 'InvalidArgument' && !/secret|c2Vj/.test(error.message),
        );
  });

  it('has fingerprints that tell credentials apart and hold nothing', () => {
    expect(fingerprint(user)).to.equal(fingerprint({ ...user }));
    expect(fingerprint(user)).not.to.equal(fingerprint({ ...user, password: 'q' }));
    expect(fingerprint(undefined)).to.match(/^[0-9a-f]{64}$/);
  });
});

describe('WWW-Authenticate', () => {
  const read = (header: string): unknown =>
    parseChallenges(header).map(({ scheme, parameters }) => [scheme, Object.fromEntries(parameters)]);

  it('reads one and several challenges', () => {
    expect(read('Bearer realm="https://auth/token",service="r",scope="repository:a:pull"')).to.deep.equal([
      ['bearer', { realm: 'https://auth/token', service: 'r', scope: 'repository:a:pull' }],
    ]);
    expect(read('Basic realm="a, b", Bearer realm=c , error="x\\"y"')).to.deep.equal([
      ['basic', { realm: 'a, b' }],
      ['bearer', { realm: 'c', error: 'x"y' }],
    ]);
  });

  it('takes any text in bounded time', () => {
    fc.assert(fc.property(fc.string(), (text) => void parseChallenges(text)));
    parseChallenges('a="'.repeat(100_000));
    parseChallenges('"\\'.repeat(100_000));
  });
});
