import { execFileSync } from 'node:child_process';
import { mkdir, mkdtemp, rm, symlink, unlink, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { expect } from 'chai';
import { RuntimeError } from '../errors.js';
import type { Spec } from '../spec/types.js';
import { openCdi } from './index.js';

const spec: Spec = {
  ociVersion: '1.2.0',
  process: { cwd: '/', args: ['a'], user: { uid: 1000, gid: 100 }, env: ['PATH=/bin', 'GPU=none'] },
  mounts: [
    { destination: '/proc', type: 'proc', source: 'proc' },
    { destination: '/lib/gpu', type: 'bind', source: '/old', options: ['rbind'] },
  ],
  linux: { devices: [{ path: '/dev/gpu0', type: 'c', major: 9, minor: 9 }] },
};

const edits = (containerEdits: object, version = '0.5.0') => ({
  cdiVersion: version,
  kind: 'v.com/gpu',
  devices: [{ name: '0', containerEdits }],
});

describe('CDI devices', () => {
  let root: string;
  let low: string;
  let high: string;
  beforeEach(async () => {
    root = await mkdtemp(path.join(os.tmpdir(), 'podwright-cdi-'));
    [low, high] = [path.join(root, 'etc'), path.join(root, 'run')];
    await mkdir(low);
    await mkdir(high);
  });
  afterEach(async () => rm(root, { recursive: true }));

  const write = async (directory: string, name: string, content: object | string) =>
    writeFile(path.join(directory, name), typeof content === 'string' ? content : JSON.stringify(content));
  const inject = async (...names: string[]) => openCdi({ directories: [low, high] }).inject(names, spec);
  const refusal = async (...names: string[]): Promise<string> => {
    try {
      await inject(...names);
    } catch (error) {
      if (error instanceof RuntimeError) return `${error.code}: ${error.message}`;
      throw error;
    }
    throw new Error('not refused');
  };

  it('bring variables, nodes, mounts and groups, those of the whole file once', async () => {
    await write(high, 'v.json', {
      cdiVersion: '0.7.0',
      kind: 'v.com/gpu',
      containerEdits: { env: ['DRIVER=1'], additionalGids: [44, 0] },
      devices: ['0', '1'].map((name) => ({
        name,
        containerEdits: {
          env: [`GPU=${name}`, `SEEN_${name}=yes`],
          deviceNodes: [
            { path: `/dev/gpu${name}`, type: 'c', major: 195, minor: Number(name), permissions: 'rw' },
          ],
          mounts: [{ hostPath: '/usr/lib/gpu', containerPath: '/lib/gpu', options: ['ro', 'nodev'] }],
        },
      })),
    });
    const { process: edited, mounts, linux } = await inject('v.com/gpu=0', 'v.com/gpu=1', 'v.com/gpu=0');
    expect(edited?.env).to.deep.equal(['PATH=/bin', 'GPU=1', 'DRIVER=1', 'SEEN_0=yes', 'SEEN_1=yes']);
    expect(edited?.user.additionalGids).to.deep.equal([44]);
    expect(linux?.devices).to.deep.equal(
      [0, 1].map((minor) => ({
        path: `/dev/gpu${minor}`,
        type: 'c',
        major: 195,
        minor,
        uid: 1000,
        gid: 100,
      })),
    );
    expect(linux?.resources?.devices).to.deep.equal(
      [0, 1].map((minor) => ({ allow: true, type: 'c', major: 195, minor, access: 'rw' })),
    );
    expect(mounts).to.deep.equal([
      { destination: '/proc', type: 'proc', source: 'proc' },
      { destination: '/lib/gpu', source: '/usr/lib/gpu', type: 'bind', options: ['rbind', 'ro', 'nodev'] },
    ]);
  });

  it('are described in YAML too, and nodes are looked up on the host', async () => {
    await write(
      low,
      'v.yaml',
      'cdiVersion: "0.5.0"\nkind: v.com/gpu\ndevices:\n- name: "0"\n  containerEdits:\n    deviceNodes:\n    - path: /dev/x\n      hostPath: /dev/null\n',
    );
    const { linux } = await inject('v.com/gpu=0');
    expect(linux?.devices?.at(-1)).to.deep.include({ path: '/dev/x', type: 'c', major: 1, minor: 3 });
  });

  it('keep mounts in an order in which none hides another', async () => {
    const mounts = ['/a/b/c', '/a', '/proc/x'].map((containerPath) => ({ hostPath: '/h', containerPath }));
    await write(low, 'v.json', edits({ mounts }));
    const places = (await inject('v.com/gpu=0')).mounts?.map(({ destination }) => destination);
    expect(places).to.deep.equal(['/proc', '/a', '/lib/gpu', '/proc/x', '/a/b/c']);
  });

  it('come from the later directory, and change with their file', async () => {
    const cdi = openCdi({ directories: [low, high] });
    const seen = async () => (await cdi.inject(['v.com/gpu=0'], spec)).process?.env?.at(-1);
    await write(low, 'v.json', edits({ env: ['FROM=low'] }));
    expect(await seen()).to.equal('FROM=low');
    await write(high, 'v.json', edits({ env: ['FROM=high'] }));
    expect(await seen()).to.equal('FROM=high');
    await write(high, 'v.json', edits({ env: ['FROM=new!'] }));
    expect(await seen()).to.equal('FROM=new!');
    await unlink(path.join(high, 'v.json'));
    expect(await seen()).to.equal('FROM=low');
  });

  it('are refused by name with the directories that were looked at', async () => {
    expect(await refusal('v.com/gpu=9')).to.equal(
      `FailedPrecondition: CDI device v.com/gpu=9: not found in ${low}, ${high}`,
    );
    await rm(high, { recursive: true });
    await mkdir(high);
    for (const name of ['gpu', 'v.com/gpu', '=', '../x=y', `v.com/${'g'.repeat(1000)}=0`, 'v.com/gpu=a b'])
      expect(await refusal(name)).to.match(/^InvalidArgument: CDI device .*vendor\/class=device/);
  });

  it('are refused where two files of one directory define them', async () => {
    await write(high, 'a.json', edits({}));
    await write(high, 'b.json', edits({}));
    await write(low, 'c.json', edits({}));
    expect(await refusal('v.com/gpu=0')).to.match(
      /^FailedPrecondition: CDI device v\.com\/gpu=0: is defined in .*a\.json and in .*b\.json$/,
    );
  });

  for (const [what, content, says] of [
    ['hooks', { hooks: [{ hookName: 'createContainer', path: '/x' }] }, /hooks \(createContainer\)/],
    ['resctrl', { intelRdt: { closID: 'x' } }, /intelRdt/],
    ['network devices', { netDevices: [{ hostInterfaceName: 'a', name: 'b' }] }, /netDevices/],
  ] as const) {
    it(`are refused with ${what}, by name`, async () => {
      await write(low, 'v.json', edits(content, '1.1.0'));
      expect(await refusal('v.com/gpu=0')).to.match(/^Unimplemented: CDI device v\.com\/gpu=0: /);
      expect(await refusal('v.com/gpu=0')).to.match(says);
    });
  }

  for (const [what, content, says] of [
    ['no JSON', '{', /JSON/],
    ['another document', '[]', /expected object/],
    ['an unknown version', edits({}, '2.0.0'), /cdiVersion: "2\.0\.0" is not known/],
    ['a version without a field', edits({ additionalGids: [1] }, '0.6.0'), /must be 0\.7\.0 at least/],
    ['a wrong kind', { ...edits({}), kind: '../gpu' }, /kind/],
    ['an unknown field', edits({ privileged: true }), /privileged/],
    ['a relative node', edits({ deviceNodes: [{ path: 'dev/x' }] }), /path: must be an absolute path/],
    ['a climbing node', edits({ deviceNodes: [{ path: '/dev/../etc/x' }] }), /path: must be an absolute/],
    [
      'a mount on the root',
      edits({ mounts: [{ hostPath: '/', containerPath: '//.' }] }),
      /must not be the root/,
    ],
    ['a NUL byte', edits({ env: ['A=\0'] }), /NUL/],
    ['a variable without a name', edits({ env: ['=x'] }), /NAME=VALUE/],
    [
      'rights that there are not',
      edits({ deviceNodes: [{ path: '/dev/x', permissions: 'x' }] }),
      /permissions/,
    ],
    ['too much', ' '.repeat(1 << 21), /longer than 1 MiB/],
    [
      'a device twice',
      { ...edits({}), devices: [0, 1].map(() => ({ name: '0', containerEdits: {} })) },
      /0 is there twice/,
    ],
  ] as const) {
    it(`are not taken from a file with ${what}, which is named`, async () => {
      await write(low, 'bad.json', content);
      await write(high, 'good.json', { ...edits({}), kind: 'good.com/gpu' });
      const message = await refusal('v.com/gpu=0');
      expect(message).to.contain(`${low}/bad.json cannot be used`);
      expect(message).to.match(says);
      await inject('good.com/gpu=0');
    });
  }

  it('are not taken from YAML that grows when it is read', async () => {
    const bomb = ['a: &a [x,x,x,x,x,x,x,x,x]'];
    for (let index = 1; index < 10; index++) {
      const [name, before] = [index, index - 1].map((each) => String.fromCharCode(97 + each));
      bomb.push(`${name}: &${name} [${Array(9).fill(`*${before}`).join()}]`);
    }
    await write(low, 'bomb.yaml', bomb.join('\n'));
    expect(await refusal('v.com/gpu=0')).to.match(/bomb\.yaml cannot be used/);
  });

  it('do not wait for a fifo, and follow links to files only', async () => {
    execFileSync('mkfifo', [path.join(low, 'fifo.json')]);
    await symlink('/dev/zero', path.join(low, 'zero.json'));
    await symlink('loop.json', path.join(low, 'loop.json'));
    await mkdir(path.join(low, 'directory.json'));
    const message = await refusal('v.com/gpu=0');
    expect(message)
      .to.match(/directory\.json cannot be used/)
      .and.match(/fifo\.json cannot be used: is no/);
    await write(root, 'elsewhere', edits({ env: ['A=1'] }));
    await symlink(path.join(root, 'elsewhere'), path.join(high, 'linked.json'));
    expect((await inject('v.com/gpu=0')).process?.env).to.include('A=1');
  });

  it('need the nodes that they have on the host', async () => {
    for (const [hostPath, says] of [
      ['/dev/podwright-nothing', /no such file/],
      ['/etc/passwd', /is no device/],
    ] as const) {
      await write(low, 'v.json', edits({ deviceNodes: [{ path: '/dev/x', hostPath }] }));
      expect(await refusal('v.com/gpu=0'))
        .to.match(/^FailedPrecondition/)
        .and.match(says);
    }
  });
});
