import { expect } from 'chai';
import fc from 'fast-check';
import { type IDMapping, NamespaceMode, NamespaceOption } from '../../protos/gen/cri/runtime/v1/api.js';
import { refusalOf } from '../testing/refusal.js';
import {
  checkMappedUser,
  checkSameUserNamespace,
  fromUserNamespace,
  toMountMappings,
  toUserNamespace,
} from './user-namespace.js';

const { POD, NODE } = NamespaceMode;
const mapping: IDMapping = { containerId: 0, hostId: 65_536, length: 65_536 };
const options = (change: object = {}) =>
  NamespaceOption.fromPartial({ usernsOptions: { mode: POD, uids: [mapping], gids: [mapping], ...change } });
const range = { containerID: 0, hostID: 65_536, size: 65_536 };
const namespace = { uidMappings: [range], gidMappings: [range] };

describe('the user namespace of a pod', () => {
  it('is the host’s unless it is asked for', () => {
    expect(toUserNamespace('f', undefined)).to.equal(undefined);
    expect(toUserNamespace('f', NamespaceOption.fromPartial({}))).to.equal(undefined);
    expect(toUserNamespace('f', options({ mode: NODE, uids: [], gids: [] }))).to.equal(undefined);
    expect(toUserNamespace('f', options())).to.deep.equal(namespace);
  });

  it('is shown as it was asked for', () => {
    expect(fromUserNamespace(namespace)).to.deep.equal({ mode: POD, uids: [mapping], gids: [mapping] });
    expect(fromUserNamespace(undefined)).to.deep.equal({ mode: NODE, uids: [], gids: [] });
  });

  it('never has ids that are none, or the root of the host', () => {
    const id = fc.integer({ min: 0, max: 0xffff_ffff });
    fc.assert(
      fc.property(id, id, id, (containerId, hostId, length) => {
        const wanted = options({ uids: [{ containerId, hostId, length }] });
        if (refusalOf(() => toUserNamespace('f', wanted)) !== 'accepted') return;
        expect([containerId, hostId > 0, length > 0, hostId + length <= 0xffff_ffff]).to.deep.equal([
          0,
          true,
          true,
          true,
        ]);
      }),
    );
  });

  it('is the same for its containers, or not named', () => {
    const check = (own: NamespaceOption | undefined, sandbox: typeof namespace | undefined): string =>
      refusalOf(() => checkSameUserNamespace('f', own, sandbox)).split(':')[0] ?? '';
    expect(check(undefined, namespace)).to.equal('accepted');
    expect(check(options(), namespace)).to.equal('accepted');
    expect(check(options(), JSON.parse(JSON.stringify(namespace)) as typeof namespace)).to.equal('accepted');
    expect(check(options({ mode: NODE, uids: [], gids: [] }), undefined)).to.equal('accepted');
    expect(check(options({ mode: NODE, uids: [], gids: [] }), namespace)).to.equal('InvalidArgument');
    expect(check(options(), undefined)).to.equal('InvalidArgument');
    expect(check(options({ gids: [{ ...mapping, length: 1 }] }), namespace)).to.equal('InvalidArgument');
  });

  it('has the ids of whom its containers run as', () => {
    const user = { uid: 65_535, gid: 0, additionalGids: [65_535], home: '/' };
    expect(refusalOf(() => checkMappedUser(user, namespace))).to.equal('accepted');
    expect(refusalOf(() => checkMappedUser({ ...user, uid: 65_536 }, undefined))).to.equal('accepted');
    expect(refusalOf(() => checkMappedUser({ ...user, uid: 65_536 }, namespace))).to.match(
      /user 65536.*not mapped/,
    );
    expect(refusalOf(() => checkMappedUser({ ...user, additionalGids: [99_999] }, namespace))).to.match(
      /group 99999.*not mapped/,
    );
  });
});

describe('an idmapped volume', () => {
  it('may have several ranges that do not meet', () => {
    const second = { containerId: 70_000, hostId: 5, length: 10 };
    expect(toMountMappings('f', { uidMappings: [], gidMappings: [] })).to.equal(undefined);
    expect(
      toMountMappings('f', { uidMappings: [mapping, second], gidMappings: [mapping] })?.uidMappings,
    ).to.have.length(2);
    for (const other of [
      { containerId: 65_535, hostId: 5, length: 1 },
      { containerId: 70_000, hostId: 131_071, length: 1 },
    ]) {
      const wanted = { uidMappings: [mapping], gidMappings: [mapping, other] };
      expect(refusalOf(() => toMountMappings('f', wanted))).to.match(
        /gidMappings\[1\]: overlaps f.gidMappings\[0\]/,
      );
    }
    const many = Array.from({ length: 341 }, (_, at) => ({ containerId: at, hostId: at + 1, length: 1 }));
    expect(refusalOf(() => toMountMappings('f', { uidMappings: many, gidMappings: many }))).to.match(
      /at most 340/,
    );
  });
});
