/** Major and minor number of a device, as glibc packs them in st_rdev (man 3 makedev). */
export function deviceNumber(rdev: number): { readonly major: number; readonly minor: number } {
  const device = BigInt(rdev);
  return {
    major: Number(((device >> 8n) & 0xfffn) | ((device >> 32n) & ~0xfffn)),
    minor: Number((device & 0xffn) | ((device >> 12n) & ~0xffn & 0xffff_ffffn)),
  };
}
