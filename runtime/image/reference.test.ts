import { expect } from 'chai';
import fc from 'fast-check';
import { RuntimeError } from '../errors.js';
import { formatReference, parseReference } from './reference.js';

const sha = `sha256:${'a'.repeat(64)}`;

describe('image reference', () => {
  const complete: readonly (readonly [string, string])[] = [
    ['busybox', 'docker.io/library/busybox:latest'],
    ['busybox:1.37', 'docker.io/library/busybox:1.37'],
    ['docker.io/busybox', 'docker.io/library/busybox:latest'],
    ['index.docker.io/team/tool', 'docker.io/team/tool:latest'],
    ['team/tool:v1', 'docker.io/team/tool:v1'],
    ['localhost/tool', 'localhost/tool:latest'],
    ['127.0.0.1:5000/a/b/c:1', '127.0.0.1:5000/a/b/c:1'],
    ['[::1]:5000/tool', '[::1]:5000/tool:latest'],
    ['registry.k8s.io/e2e-test-images/busybox:1.29-2', 'registry.k8s.io/e2e-test-images/busybox:1.29-2'],
    ['Registry/tool', 'Registry/tool:latest'],
    [`quay.io/a/b@${sha}`, `quay.io/a/b@${sha}`],
    [`quay.io/a/b:tag@${sha}`, `quay.io/a/b@${sha}`],
    ['a__b/c-d.e', 'docker.io/a__b/c-d.e:latest'],
  ];
  for (const [text, expected] of complete)
    it(`completes ${text}`, () => expect(formatReference(parseReference(text))).to.equal(expected));

  const malformed = [
    '',
    ':tag',
    'UPPER',
    'a/../b',
    'host.io/../etc/passwd',
    'host.io//a',
    'host.io/a/',
    'a b',
    'busybox:',
    'busybox:a/b:c@',
    'busybox@sha256:abc',
    `busybox@md5:${'a'.repeat(32)}`,
    'host.io:99999/a',
    'host.io:0/a',
    '..:5000/a',
    'a\nb',
    `x/${'a'.repeat(256)}`,
    `busybox:${'t'.repeat(129)}`,
  ];
  for (const text of malformed)
    it(`refuses ${JSON.stringify(text.slice(0, 40))}`, () =>
      expect(() => parseReference(text))
        .to.throw(RuntimeError)
        .with.property('code', 'InvalidArgument'));

  it('reads its own output, and no text breaks it', () => {
    fc.assert(
      fc.property(fc.string({ maxLength: 60 }), (text) => {
        try {
          const written = formatReference(parseReference(text));
          expect(formatReference(parseReference(written))).to.equal(written);
          expect(written).not.to.match(/\.\.|[\s\0]/);
        } catch (error) {
          expect(error).to.be.instanceOf(RuntimeError);
        }
      }),
    );
  });
});
