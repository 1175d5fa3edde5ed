/** How many times slower than a usual machine this one is; time-outs of the tests are longer by it. */
export const slowness = Number(process.env['PODWRIGHT_SLOWNESS'] ?? '1');
