import { expect } from 'chai';
import { configSchema } from '../config-schema.js';
import { refusalOf } from '../testing/refusal.js';
import { findHandler, handlerNames, withCgroupAccess, withOwner } from './handlers.js';

describe('runtime handlers', () => {
  const configOf = (runtime: object) => configSchema.parse({ runtime }).runtime;
  const config = configOf({
    default: { unset_seccomp_profile: 'runtime/default', sysctls: { 'net.a': '1', 'net.b': '1' } },
    handlers: { bare: { privileged_without_host_devices: true, sysctls: { 'net.b': '2' } }, plain: {} },
  });
  const user = { uid: 1000, gid: 0, additionalGids: [], home: '/' };

  it('are the default and those of the configuration', () => {
    expect(handlerNames(configOf({}))).to.deep.equal(['']);
    expect(handlerNames(config)).to.deep.equal(['', 'bare', 'plain']);
  });

  it('inherit what they leave out', () => {
    expect(findHandler('', '', config)).to.deep.include({
      name: '',
      privilegedWithoutHostDevices: false,
      unsetSeccomp: { kind: 'default' },
      sysctls: { 'net.a': '1', 'net.b': '1' },
    });
    expect(findHandler('', 'bare', config)).to.deep.include({
      name: 'bare',
      privilegedWithoutHostDevices: true,
      unsetSeccomp: { kind: 'default' },
      sysctls: { 'net.a': '1', 'net.b': '2' },
    });
  });

  for (const name of ['kata', 'Bare', '__proto__', 'constructor']) {
    it(`refuse the unknown name ${name}`, () => {
      expect(refusalOf(() => findHandler('runtime_handler', name, config))).to.match(
        /^InvalidArgument: runtime_handler: no handler ".*" is configured \(there is "bare", "plain"\)/,
      );
    });
  }

  it('have names and options that the configuration checks', () => {
    for (const handlers of [{ 'no/name': {} }, { UPPER: {} }, { x: { typo: true } }])
      expect(() => configOf({ handlers }), JSON.stringify(handlers)).to.throw();
  });

  it('make the cgroups of containers writable', () => {
    const mounts = [
      { destination: '/proc', type: 'proc', options: ['ro'] },
      { destination: '/sys/fs/cgroup', type: 'cgroup', options: ['nosuid', 'ro'] },
    ];
    const handler = findHandler('', '', configOf({ default: { cgroup_writable: true } }));
    expect(withCgroupAccess(handler, mounts).map(({ options }) => options)).to.deep.equal([
      ['ro'],
      ['nosuid', 'rw'],
    ]);
    expect(withCgroupAccess(findHandler('', '', config), mounts)).to.equal(mounts);
  });

  it('give devices to the user of the container', () => {
    const devices = [{ path: '/dev/x', type: 'c', uid: 5, gid: 6 }] as const;
    const own = { device_ownership_from_security_context: true };
    const handler = findHandler('', '', configOf({ default: own }));
    expect(withOwner(handler, user, devices)).to.deep.equal([
      { path: '/dev/x', type: 'c', uid: 1000, gid: 6 },
    ]);
    expect(withOwner(findHandler('', '', config), user, devices)).to.equal(devices);
  });
});
