import { expect } from 'chai';
import fc from 'fast-check';
import { buildImage, buildIndex, buildLayer } from '../../e2e/fixtures/image-builder.js';
import { RuntimeError } from '../errors.js';
import { chainIdsOf, parseConfig } from './config.js';
import { parseManifest } from './manifest.js';
import { parseDigest, type Digest } from '../base/digest.js';

const digest = `sha256:${'1'.repeat(64)}`;
const config = { mediaType: 'application/vnd.oci.image.config.v1+json', digest, size: 2 };
const layer = { mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip', digest, size: 3 };
const encode = (document: unknown): Buffer => Buffer.from(JSON.stringify(document));
const parse = (document: unknown, mediaType?: string): ReturnType<typeof parseManifest> =>
  parseManifest({ content: encode(document), mediaType });

function failure(work: () => unknown): RuntimeError {
  try {
    work();
  } catch (error) {
    if (error instanceof RuntimeError) return error;
    throw error;
  }
  throw new Error('it did not fail');
}

describe('manifest', () => {
  for (const format of ['oci', 'docker'] as const)
    it(`reads ${format} images and indexes`, async () => {
      const image = buildImage({ layers: [await buildLayer([{ name: 'a' }])], format });
      const built = buildIndex([image], format);
      const manifest = parseManifest({ content: image.manifest.content as Buffer, mediaType: undefined });
      expect(manifest).to.include({ kind: 'image', mediaType: image.manifest.mediaType });
      const index = parseManifest({
        content: built.manifest.content as Buffer,
        mediaType: built.manifest.mediaType,
      });
      expect(index.kind === 'index' && index.entries[0]?.digest).to.equal(image.manifest.digest);
    });

  it('knows an OCI document without media type by its shape', () => {
    expect(parse({ schemaVersion: 2, config, layers: [layer] }, 'application/json').kind).to.equal('image');
    expect(parse({ schemaVersion: 2, manifests: [] }, 'text/plain').kind).to.equal('index');
  });

  const ambiguous: readonly (readonly [string, unknown, string?])[] = [
    ['layers and manifests', { config, layers: [layer], manifests: [] }],
    ['config and manifests', { config, manifests: [] }],
    ['fsLayers and manifests', { fsLayers: [], manifests: [] }],
    [
      'two media types',
      { mediaType: 'application/vnd.oci.image.index.v1+json', manifests: [] },
      'application/vnd.oci.image.manifest.v1+json',
    ],
  ];
  for (const [name, document, mediaType] of ambiguous)
    it(`refuses a document with ${name}`, () =>
      expect(failure(() => parse(document, mediaType))).to.include({
        code: 'DataLoss',
        reason: 'ManifestInvalid',
      }));

  const unsupported: readonly (readonly [string, unknown, string?])[] = [
    ['docker schema 1', { schemaVersion: 1, fsLayers: [] }],
    ['signed schema 1', { schemaVersion: 2 }, 'application/vnd.docker.distribution.manifest.v1+prettyjws'],
    [
      'an artifact',
      { config: { ...config, mediaType: 'application/vnd.oci.empty.v1+json' }, layers: [layer] },
    ],
    ['an encrypted layer', { config, layers: [{ ...layer, mediaType: `${layer.mediaType}+encrypted` }] }],
    ['another document', { mediaType: 'application/vnd.cncf.helm.config.v1+json', config, layers: [] }],
  ];
  for (const [name, document, mediaType] of unsupported)
    it(`refuses ${name} with a sentence`, () =>
      expect(failure(() => parse(document, mediaType))).to.include({
        code: 'FailedPrecondition',
        reason: 'ManifestUnsupported',
      }));

  it('names the field that is wrong', () => {
    const broken = { config, layers: [{ ...layer, digest: 'sha256:../../../etc/passwd' }] };
    expect(failure(() => parse(broken)).message).to.contain(
      'layers[0].digest: not a sha256 or sha512 digest',
    );
    expect(failure(() => parse({ config, layers: [{ ...layer, size: -1 }] })).message).to.contain(
      'layers[0].size',
    );
    expect(failure(() => parse({ config, layers: Array(501).fill(layer) })).message).to.contain('layers');
    expect(
      failure(() => parseManifest({ content: Buffer.from('<html>'), mediaType: undefined })).message,
    ).to.contain('not JSON');
  });

  it('fails in one way only, whatever comes', () => {
    fc.assert(
      fc.property(fc.json(), fc.option(fc.string(), { nil: undefined }), (text, mediaType) => {
        expect(failure(() => parseManifest({ content: Buffer.from(text), mediaType }))).to.be.instanceOf(
          RuntimeError,
        );
      }),
    );
  });
});

describe('image configuration', () => {
  it('reads what a runtime needs, and null as unset', () => {
    const parsed = parseConfig(
      encode({
        architecture: 'amd64',
        os: 'linux',
        config: {
          User: '1000:50',
          Env: ['A=b'],
          Entrypoint: null,
          Cmd: ['sh'],
          Volumes: { '/data': {} },
          Labels: null,
        },
        rootfs: { type: 'layers', diff_ids: [digest] },
      }),
    );
    expect(parsed.config).to.deep.include({
      user: '1000:50',
      env: ['A=b'],
      entrypoint: [],
      cmd: ['sh'],
      volumes: ['/data'],
    });
    expect(parsed.diffIds).to.deep.equal([digest]);
    expect(
      parseConfig(encode({ config: null, rootfs: { type: 'layers', diff_ids: null } })).config.user,
    ).to.equal('');
  });

  const wrong: readonly (readonly [string, unknown])[] = [
    ['config.Env[0]', { config: { Env: ['A=\0'] }, rootfs: { type: 'layers', diff_ids: [] } }],
    ['config.Cmd', { config: { Cmd: 'sh' }, rootfs: { type: 'layers', diff_ids: [] } }],
    ['config.Labels.x', { config: { Labels: { x: 1 } }, rootfs: { type: 'layers', diff_ids: [] } }],
    ['rootfs', {}],
    ['rootfs.diff_ids', { rootfs: { type: 'layers', diff_ids: ['sha256:zz'] } }],
  ];
  for (const [field, document] of wrong)
    it(`refuses a wrong ${field} by name`, () =>
      expect(failure(() => parseConfig(encode(document))))
        .to.include({ code: 'DataLoss', reason: 'ManifestInvalid' })
        .and.property('message')
        .contains(field));

  it('computes chain ids as the image-spec says', () => {
    const [a, b] = ['a', 'b'].map((letter) => parseDigest(`sha256:${letter.repeat(64)}`) as Digest) as [
      Digest,
      Digest,
    ];
    const [first, second] = chainIdsOf([a, b]);
    expect(first).to.equal(a);
    expect(second).to.equal('sha256:ccd722928bd92476ba1745586fed6e45a102504185ad88cd89e01ff116fd146c');
  });
});
