import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { status } from '@grpc/grpc-js';
import { expect } from 'chai';
import { strays } from './audit.js';
import {
  type Bed,
  type ContainerConfig,
  type Pod,
  containerConfig,
  createContainer,
  exitOf,
  openBed,
  runContainer,
  runPod,
} from './bed.js';
import { type Canary, makeCanary } from './canary.js';
import { runToEnd } from './container-log.js';
import { busyboxLayer, debianBusybox } from './fixtures/busybox-image.js';
import {
  type BuiltLayer,
  type ConfigFields,
  type LayerEntry,
  buildImage,
  buildLayer,
  layerFromTar,
} from './fixtures/image-builder.js';
import { refusal } from './refusal.js';

/**
 * Images whose files and settings are meant to lead out of them. A pull or a container is refused with a sentence, or
 * stays within the image; the host's tree does not change.
 */
describe('a hostile image', function () {
  this.timeout(60_000);
  let bed: Bed;
  let pod: Pod;
  let canary: Canary;
  let untouched: string;
  let base: BuiltLayer;
  let serial = 0;

  before(async () => {
    bed = await openBed();
    canary = await makeCanary(bed.daemon.instance.scratch);
    untouched = await canary.describe();
    base = await busyboxLayer(debianBusybox);
    pod = await runPod(bed, 'pod');
  });
  after(async () => {
    await bed?.end();
  });
  afterEach(async () => {
    const { runtime } = bed.daemon.client;
    const { containers } = await runtime.listContainers();
    for (const { id } of containers) await runtime.removeContainer({ containerId: id });
    expect(await canary.describe()).to.equal(untouched);
    expect(await strays(bed)).to.deep.equal([]);
  });

  /** Serves busybox with a layer above it; nothing is pulled. */
  const serve = async (entries: readonly LayerEntry[], config: ConfigFields = {}): Promise<string> => {
    serial += 1;
    const layer = await buildLayer([...entries, { name: `mark-${serial}` }]);
    return bed.serve(`hostile-${serial}`, buildImage({ layers: [base, layer], config }));
  };
  const pull = async (image: string): Promise<string> => {
    await bed.daemon.client.image.pullImage({ image: { image } });
    return image;
  };
  /** Runs a script in the image: its output, or the refusal. */
  const run = async (
    image: string,
    script: string,
    more: ContainerConfig = {},
  ): Promise<readonly string[]> => {
    serial += 1;
    const config = containerConfig({ image }, `c${serial}`, script, more);
    return (await runToEnd(bed, pod, config)).texts;
  };

  describe('whose layer leads out of it', () => {
    const up = '../'.repeat(40);
    const escapes: readonly [string, (outside: string) => readonly LayerEntry[]][] = [
      ['by ..', (outside) => [{ name: `${up}${outside.slice(1)}/new`, content: 'x' }]],
      ['by an absolute name', (outside) => [{ name: `${outside}/secret`, content: 'x' }]],
      [
        'by a symbolic link to a directory',
        (outside) => [
          { name: 'way', linkname: outside },
          { name: 'way/new', content: 'x' },
        ],
      ],
      [
        'by a relative symbolic link',
        (outside) => [
          { name: 'way', linkname: up + outside.slice(1) },
          { name: 'way/secret', content: 'x' },
        ],
      ],
      [
        'by a symbolic link in place of a file',
        (outside) => [
          { name: 'file', linkname: `${outside}/secret` },
          { name: 'file', content: 'x' },
        ],
      ],
      ['by a hard link', (outside) => [{ name: 'linked', type: 'link', linkname: `${outside}/secret` }]],
      [
        'by a hard link through ..',
        (outside) => [{ name: 'linked', type: 'link', linkname: `${up}${outside.slice(1)}/secret` }],
      ],
      [
        'by a hard link to a symbolic link',
        (outside) => [
          { name: 'way', linkname: `${outside}/secret` },
          { name: 'linked', type: 'link', linkname: 'way' },
          { name: 'linked', content: 'x' },
        ],
      ],
      ['by a whiteout of ..', () => [{ name: '.wh...' }]],
      ['by a whiteout below ..', (outside) => [{ name: `${up}${outside.slice(1)}/.wh.secret` }]],
      [
        'by a whiteout through a symbolic link',
        (outside) => [
          { name: 'way', linkname: outside },
          { name: 'way/.wh.secret' },
          { name: 'way/.wh..wh..opq' },
        ],
      ],
      [
        'by a directory that becomes a symbolic link',
        (outside) => [
          { name: 'way/' },
          { name: 'way', linkname: outside },
          { name: 'way/etc/passwd', content: 'x' },
          { name: 'way/', mode: 0o777 },
        ],
      ],
    ];
    for (const [what, entries] of escapes) {
      it(what, async () => {
        const image = await serve(entries(canary.directory));
        try {
          await pull(image);
        } catch (error) {
          const { code, details } = error as Error & { code: status; details: string };
          expect(status[code], details).to.be.oneOf(['INVALID_ARGUMENT', 'DATA_LOSS', 'FAILED_PRECONDITION']);
          expect(details).to.match(/\.\.|way|file|linked|secret|\.wh\./);
          return;
        }
        expect(await run(image, 'echo contained')).to.deep.equal(['contained']);
      });
    }

    it('by names that no file system takes', async () => {
      const image = await serve([{ name: 'x'.repeat(300), content: 'x' }]);
      const { details } = await refusal(pull(image));
      expect(details).to.contain('xxxx');
    });

    it('by bytes that are no archive', async () => {
      for (const [index, bytes] of [
        Buffer.alloc(5000, 0xff),
        Buffer.from('not a tar'),
        Buffer.alloc(0),
      ].entries()) {
        const layer = await layerFromTar(bytes, 'gzip');
        const image = bed.serve(`bytes-${index}`, buildImage({ layers: [base, layer] }));
        await pull(image).catch((error: unknown) => {
          expect(status[(error as { code: status }).code]).to.be.oneOf(['INVALID_ARGUMENT', 'DATA_LOSS']);
        });
      }
    });
  });

  it('whose /dev, /proc, /sys and /etc are symbolic links stays within itself', async () => {
    const directories = ['dev', 'proc', 'sys', 'etc'];
    for (const target of [canary.directory, `${'../'.repeat(30)}${canary.directory.slice(1)}`, '/', '..']) {
      const image = await pull(
        await serve(
          directories.flatMap((name): readonly LayerEntry[] => [
            { name: `.wh.${name}` },
            { name, linkname: target },
          ]),
        ),
      );
      try {
        await run(image, 'echo contained; mkdir -p /etc/new; echo x >/etc/passwd');
      } catch (error) {
        const { code, details } = error as Error & { code: status; details: string };
        expect(details).to.match(/mount|open|\/(dev|proc|sys|etc)/);
        expect(status[code], details).not.to.equal('UNKNOWN');
      }
    }
  });

  it('whose mount points are symbolic links cannot move a mount', async () => {
    const image = await pull(
      await serve([
        { name: 'data', linkname: canary.directory },
        { name: 'etc/hosts', linkname: `${canary.directory}/secret` },
      ]),
    );
    const mounts = [{ containerPath: '/data/inner', hostPath: '/usr/share' }];
    const texts = await run(image, 'cat /proc/self/mountinfo', { mounts });
    expect(texts.join('\n')).to.contain(`${canary.directory}/inner`);
    const { stdout } = await promisify(execFile)('cat', ['/proc/self/mountinfo']);
    expect(stdout).not.to.contain(canary.directory);
  });

  for (const volume of ['/../../etc', '../..', 'relative', '/', '/proc', '/dev/shm', `/a\nb`]) {
    it(`with VOLUME ${JSON.stringify(volume)}`, async () => {
      const image = await pull(await serve([], { Volumes: { [volume]: {} } }));
      try {
        const texts = await run(image, 'cat /proc/self/mountinfo; echo contained');
        expect(texts.at(-1)).to.equal('contained');
      } catch (error) {
        const { code, details } = error as Error & { code: status; details: string };
        expect(status[code], details).to.be.oneOf(['INVALID_ARGUMENT', 'FAILED_PRECONDITION']);
        expect(details).to.match(/volume/i);
      }
    });
  }

  it('with a VOLUME that is a symbolic link copies nothing of the host', async () => {
    const image = await pull(
      await serve([{ name: 'vol', linkname: canary.directory }], { Volumes: { '/vol': {} } }),
    );
    const texts = await run(image, 'cat /vol/secret /vol/etc/passwd; echo end');
    expect(texts.filter((text) => text.includes('root only') || text.includes('4242'))).to.deep.equal([]);
  });

  const named: ContainerConfig = { linux: { securityContext: { runAsUsername: 'mail' } } };
  const accounts: readonly [string, readonly LayerEntry[], ConfigFields][] = [
    ['a fifo', [{ name: 'etc/passwd', type: 'fifo' }], {}],
    ['a device', [{ name: 'etc/passwd', type: 'character-device', device: { major: 1, minor: 5 } }], {}],
    ['a directory', [{ name: '.wh.etc' }, { name: 'etc/passwd/' }], {}],
    ['huge', [{ name: 'etc/passwd', content: Buffer.alloc(3 << 20, 'x') }], {}],
    ['a symbolic link to the host', [{ name: 'etc/passwd', linkname: '/HOST/etc/passwd' }], {}],
    ['a symbolic link to itself', [{ name: 'etc/passwd', linkname: 'passwd' }], {}],
  ];
  for (const [what, entries] of accounts) {
    it(`whose passwd is ${what}, for a named user`, async () => {
      const real = entries.map((entry) =>
        entry.linkname === undefined
          ? entry
          : { ...entry, linkname: entry.linkname.replace('/HOST', canary.directory) },
      );
      const image = await pull(await serve(real));
      serial += 1;
      const refused = await refusal(
        createContainer(bed, pod, containerConfig({ image }, `c${serial}`, 'id', named)),
      );
      expect(refused.details).to.match(/passwd/);
      expect(status[refused.code], refused.details).to.be.oneOf([
        'FAILED_PRECONDITION',
        'INVALID_ARGUMENT',
        'NOT_FOUND',
        'RESOURCE_EXHAUSTED',
      ]);
    });
  }

  it('whose passwd names a strange home gets a plain one', async () => {
    const home = '/root\rLD_PRELOAD=/x';
    const content = `root:x:0:0:root:${home}:/bin/sh\nmail:x:8:8:mail:../..:/bin/sh\n`;
    const image = await pull(await serve([{ name: 'etc/passwd', content }]));
    expect(await run(image, 'echo "$HOME"; env | grep -c LD_PRELOAD')).to.deep.equal(['/', '0']);
    expect(await run(image, 'echo "$HOME"', named)).to.deep.equal(['/']);
  });

  const settings: readonly [string, ConfigFields][] = [
    ['a user out of range', { User: '4294967296' }],
    ['a user with a line break', { User: 'root\nx' }],
    ['a user that is a path', { User: '../../x' }],
    ['a working directory with ..', { WorkingDir: '/../../../etc' }],
    ['an unknown stop signal', { StopSignal: 'SIGNOPE' }],
  ];
  for (const [what, config] of settings) {
    it(`with ${what}`, async () => {
      const image = await pull(await serve([], config));
      serial += 1;
      const request = containerConfig({ image }, `c${serial}`, 'true');
      const { code, details } = await refusal(createContainer(bed, pod, request));
      expect(status[code], details).to.equal('INVALID_ARGUMENT');
    });
  }

  it('with a variable that is none starts without it', async () => {
    const image = await pull(await serve([], { Env: ['NOEQUALS', '=x', 'GOOD=yes', 'LINES=a\nb'] }));
    expect(await run(image, 'echo $GOOD-$NOEQUALS-')).to.deep.equal(['yes--']);
  });

  for (const [field, config] of [
    ['WorkingDir', { WorkingDir: '/a\0b' }],
    ['Entrypoint', { Entrypoint: ['a\0b'] }],
    ['Env', { Env: ['A=a\0b'] }],
  ] as const) {
    it(`with a NUL byte in its ${field} is not even pulled`, async () => {
      const { code, details } = await refusal(pull(await serve([], config)));
      expect(details).to.contain(field);
      expect(status[code]).to.equal('DATA_LOSS');
    });
  }

  it('whose working directory is a descriptor of ours is refused it', async () => {
    for (const way of ['direct', 'link'] as const) {
      const found: string[] = [];
      for (let fd = 3; fd < 24; fd += 1) {
        const target = `/proc/self/fd/${fd}`;
        const image = await pull(
          way === 'direct'
            ? await serve([], { WorkingDir: target })
            : await serve([{ name: 'cwd', linkname: target }], { WorkingDir: '/cwd' }),
        );
        try {
          // From a directory of the host this would find the canary.
          found.push(
            ...(await run(image, `pwd; cat ${'../'.repeat(30)}${canary.directory.slice(1)}/secret`)),
          );
        } catch (error) {
          const { details } = error as Error & { details: string };
          expect(details).to.match(/cwd|chdir|directory|\/proc\/self\/fd/);
        }
      }
      expect(found.filter((text) => text.includes('root only'))).to.deep.equal([]);
    }
  });

  it('whose command is /proc/self/exe does not get our helper to write to', async () => {
    const helper = path.join(import.meta.dirname, '../../native/build/Release/podwright-init');
    const before = await readFile(helper);
    for (const command of ['/proc/self/exe', '/exe']) {
      const image = await pull(
        await serve([{ name: 'exe', linkname: '/proc/self/exe' }], { Entrypoint: [command] }),
      );
      serial += 1;
      try {
        const container = await runContainer(bed, pod, containerConfig({ image }, `c${serial}`, []));
        expect((await exitOf(bed, container.id)).exitCode).not.to.equal(0);
      } catch (error) {
        expect((error as { details: string }).details).to.contain(command);
      }
    }
    expect((await readFile(helper)).equals(before)).to.equal(true);
    expect(await run(bed.image, 'echo still here')).to.deep.equal(['still here']);
  });
});
