import type { Platform } from './types.js';

const architectures: Readonly<Record<string, string>> = {
  x64: 'amd64',
  ia32: '386',
  ppc64: 'ppc64le',
  mipsel: 'mipsle',
};

/** This machine, in the names of the image-spec. */
export function hostPlatform(): Platform {
  const architecture = architectures[process.arch] ?? process.arch;
  if (architecture !== 'arm') return { os: 'linux', architecture };
  const version = process.config.variables['arm_version' as keyof typeof process.config.variables];
  return { os: 'linux', architecture, variant: `v${typeof version === 'string' ? version : '7'}` };
}

/** One spelling for each platform: `x86_64` is amd64, `aarch64` and `arm64/v8` are arm64, `armhf` is arm/v7. */
function normalisePlatform({ os, architecture, variant }: Platform): Platform {
  const plain = { os: os.toLowerCase(), architecture: architecture.toLowerCase() };
  switch (plain.architecture) {
    case 'x86_64':
    case 'x86-64':
    case 'amd64':
      return { ...plain, architecture: 'amd64', variant: variant === 'v1' ? undefined : variant };
    case 'i386':
    case 'i686':
      return { ...plain, architecture: '386' };
    case 'aarch64':
    case 'arm64':
      return {
        ...plain,
        architecture: 'arm64',
        variant: isOneOf(variant, '8', 'v8', '') ? undefined : variant,
      };
    case 'armhf':
      return { ...plain, architecture: 'arm', variant: 'v7' };
    case 'armel':
      return { ...plain, architecture: 'arm', variant: 'v6' };
    case 'arm':
      return { ...plain, variant: variant === undefined || variant === '' ? 'v7' : withV(variant) };
    default:
      return { ...plain, variant: variant === '' ? undefined : variant };
  }
}

function isOneOf(value: string | undefined, ...values: readonly string[]): boolean {
  return value !== undefined && values.includes(value);
}

function withV(variant: string): string {
  return variant.startsWith('v') ? variant : `v${variant}`;
}

/**
 * How well an image for `offered` runs on `wanted`: 0 is not at all, more is better. The same platform is best; then
 * lower variants that the processor also runs (arm v7 runs v6, an amd64 v3 machine runs v2), the highest first; an arm64
 * machine takes 32-bit arm last.
 */
export function platformFit(wanted: Platform, offered: Platform): number {
  const want = normalisePlatform(wanted);
  const offer = normalisePlatform(offered);
  if (want.os !== offer.os) return 0;
  const cost = offer.architecture === want.architecture ? variantCost(want, offer) : crossCost(want, offer);
  return cost === undefined ? 0 : 1000 - cost;
}

function variantCost(want: Platform, offer: Platform): number | undefined {
  if (want.variant === offer.variant) return 0;
  const wantLevel = level(want);
  const offerLevel = level(offer);
  if (wantLevel === undefined || offerLevel === undefined || offerLevel > wantLevel) return undefined;
  return wantLevel - offerLevel;
}

function crossCost(want: Platform, offer: Platform): number | undefined {
  if (want.architecture !== 'arm64' || offer.architecture !== 'arm') return undefined;
  const offerLevel = level(offer);
  return offerLevel === undefined ? undefined : 100 + 8 - offerLevel;
}

/** The number in a variant where it is ordered: arm v5…v8, arm64 v8, v9, amd64 v1…v4. */
function level({ architecture, variant }: Platform): number | undefined {
  const lowest: Readonly<Record<string, number>> = { amd64: 1, arm64: 8, arm: 7 };
  if (variant === undefined) return lowest[architecture];
  const number = /^v(\d{1,2})(?:\.\d+)?$/.exec(variant)?.[1];
  return architecture in lowest && number !== undefined ? Number(number) : undefined;
}

export function formatPlatform(platform: Platform): string {
  const { os, architecture, variant } = normalisePlatform(platform);
  return [os, architecture, variant].filter((part) => part !== undefined && part !== '').join('/');
}
