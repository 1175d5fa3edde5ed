import { expect } from 'chai';
import { choosePlatform, type ImageIndex } from './manifest.js';
import { formatPlatform, platformFit } from './platform.js';
import type { Platform } from './types.js';
import { digestOf } from '../base/digest.js';

const platform = (text: string): Platform => {
  const [os = '', architecture = '', variant] = text.split('/');
  return { os, architecture, variant };
};

describe('platform', () => {
  const runs: readonly (readonly [string, string, boolean])[] = [
    ['linux/amd64', 'linux/amd64', true],
    ['linux/amd64', 'linux/x86_64', true],
    ['linux/amd64', 'linux/amd64/v2', false],
    ['linux/amd64/v3', 'linux/amd64/v2', true],
    ['linux/amd64', 'windows/amd64', false],
    ['linux/amd64', 'unknown/unknown', false],
    ['linux/arm64', 'linux/arm64/v8', true],
    ['linux/arm64', 'linux/arm/v7', true],
    ['linux/arm64', 'linux/amd64', false],
    ['linux/arm/v7', 'linux/arm/v6', true],
    ['linux/arm/v6', 'linux/arm/v7', false],
    ['linux/arm/v7', 'linux/arm', true],
    ['linux/s390x', 'linux/s390x', true],
  ];
  for (const [machine, image, expected] of runs)
    it(`${machine} ${expected ? 'runs' : 'does not run'} ${image}`, () =>
      expect(platformFit(platform(machine), platform(image)) > 0).to.equal(expected));

  const index = (...platforms: (string | undefined)[]): ImageIndex => ({
    kind: 'index',
    mediaType: '',
    entries: platforms.map((text, place) => ({
      mediaType: 'application/vnd.oci.image.manifest.v1+json',
      digest: digestOf(String(place)),
      size: place,
      platform: text === undefined ? undefined : platform(text),
    })),
  });

  it('chooses the best variant, the first of equals', () => {
    const choice = choosePlatform(
      index('linux/arm/v5', 'linux/arm/v7', 'linux/arm64', 'linux/arm64/v8'),
      platform('linux/arm64'),
    );
    expect(choice.size).to.equal(2);
    expect(choosePlatform(index('linux/arm/v5', 'linux/arm/v6'), platform('linux/arm/v7')).size).to.equal(1);
  });

  it('takes an entry without platform last', () => {
    expect(choosePlatform(index(undefined, 'linux/amd64'), platform('linux/amd64')).size).to.equal(1);
    expect(choosePlatform(index(undefined, 'linux/arm64'), platform('linux/amd64')).size).to.equal(0);
  });

  it('says which platforms there are', () => {
    expect(() => choosePlatform(index('linux/arm64', 'windows/amd64'), platform('linux/amd64')))
      .to.throw('linux/arm64, windows/amd64, not for linux/amd64')
      .with.property('reason', 'PlatformMissing');
    expect(formatPlatform(platform('linux/aarch64/v8'))).to.equal('linux/arm64');
  });
});
