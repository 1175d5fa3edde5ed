import { expect } from 'chai';
import { RuntimeError } from '../../runtime/errors.js';
import { type UserRequest, describeImageUser, parseUserText, resolveUser } from './user.js';

const passwd = [
  'root:x:0:0:root:/root:/bin/sh',
  'www-data:x:33:33:www-data:/var/www:/usr/sbin/nologin',
  '1000:x:0:0:a name that is a number:/evil:/bin/sh',
  '4294967296:x:0:0:a name that is a number out of range:/evil:/bin/sh',
  'default-user:x:1000:1000::/home/default-user:/bin/sh',
  'broken:x:notanumber:0::/:',
  'toobig:x:4294967296:0::/:',
  'nohome:x:1001:1001::relative:/bin/sh',
  'half',
].join('\n');
const group = [
  'root:x:0:',
  'www-data:x:33:',
  'group-defined-in-image:x:50000:default-user,other',
  'extra:x:50001:other',
  'alsoroot:x:7:root,www-data',
  'broken:x:x:default-user',
].join('\n');
const files = { passwd, group };

function request(change: Partial<UserRequest> = {}): UserRequest {
  return {
    uid: undefined,
    username: '',
    gid: undefined,
    supplementalGroups: [],
    groupsPolicy: 'merge',
    ...change,
  };
}

function codeOf(act: () => unknown): string {
  try {
    act();
  } catch (error) {
    return error instanceof RuntimeError ? error.code : `not a RuntimeError: ${String(error)}`;
  }
  return 'accepted';
}

describe('user', () => {
  describe('as text', () => {
    for (const [text, user, groupPart] of [
      ['0', 0, undefined],
      ['1', 1, undefined],
      ['1000', 1000, undefined],
      ['2147483647', 2147483647, undefined],
      ['2147483648', 2147483648, undefined],
      ['4294967294', 4294967294, undefined],
      ['root', 'root', undefined],
      ['www-data', 'www-data', undefined],
      ['svc_1.x@corp$', 'svc_1.x@corp$', undefined],
      ['3scale', '3scale', undefined],
      ['1:2', 1, 2],
      ['1:wheel', 1, 'wheel'],
      ['root:0', 'root', 0],
      ['root:wheel', 'root', 'wheel'],
    ] as [string, number | string, number | string | undefined][]) {
      it(`${JSON.stringify(text)} is understood`, () => {
        const plain = (part: ReturnType<typeof parseUserText>['group']) =>
          part === undefined ? undefined : part.kind === 'id' ? part.id : part.name;
        const parsed = parseUserText('user', text);
        expect([plain(parsed.user), plain(parsed.group)]).to.deep.equal([user, groupPart]);
      });
    }

    for (const text of [
      '01',
      '00',
      '1:',
      ':1',
      ':',
      '',
      '+1',
      '-1',
      ' 1',
      '1 ',
      '1\n',
      '0x1',
      '-0x1',
      '1:2:3',
      '4294967295',
      '4294967296',
      '18446744073709551616',
      '9'.repeat(1000),
      '-root',
      'a b',
      'a/b',
      'a\0',
      'ro\u00f6t',
      'x'.repeat(300),
    ]) {
      it(`${JSON.stringify(text.slice(0, 30))} is refused`, () => {
        expect(codeOf(() => parseUserText('user', text))).to.equal('InvalidArgument');
      });
    }
  });

  describe('of a container', () => {
    for (const [name, asked, image, uid, gid, groups, home] of [
      ['root by default', {}, '', 0, 0, [0, 7], '/root'],
      ['the image decides by number', {}, '33', 33, 33, [33, 7], '/var/www'],
      ['the image decides by name', {}, 'www-data', 33, 33, [33, 7], '/var/www'],
      ['the image decides group too', {}, '1000:50001', 1000, 50001, [50001, 50000], '/home/default-user'],
      ['the image names both', {}, 'www-data:extra', 33, 50001, [50001, 7], '/var/www'],
      ['the request wins', { uid: 1000n }, 'root', 1000, 1000, [1000, 50000], '/home/default-user'],
      ['a request by name', { username: 'www-data' }, '5', 33, 33, [33, 7], '/var/www'],
      ['a request with group', { uid: 5n, gid: 6n }, '', 5, 6, [6], '/'],
      ['a number without entry', { uid: 12345n }, '', 12345, 0, [0], '/'],
      [
        'a number that is also a name',
        { username: '1000' },
        '',
        1000,
        1000,
        [1000, 50000],
        '/home/default-user',
      ],
      [
        'further groups',
        { uid: 1000n, supplementalGroups: [7n, 8n, 7n] },
        '',
        1000,
        1000,
        [1000, 50000, 7, 8],
        '/home/default-user',
      ],
      [
        'strict groups',
        { uid: 1000n, supplementalGroups: [8n], groupsPolicy: 'strict' },
        '',
        1000,
        1000,
        [1000, 8],
        '/home/default-user',
      ],
      ['a home that is no path', { uid: 1001n }, '', 1001, 1001, [1001], '/'],
    ] as [string, Partial<UserRequest>, string, number, number, number[], string][]) {
      it(name, () => {
        expect(resolveUser(request(asked), image, files)).to.deep.equal({
          uid,
          gid,
          additionalGids: groups,
          home,
        });
      });
    }

    for (const [name, asked, image, code] of [
      ['a name that passwd lacks', { username: 'nobody' }, '', 'InvalidArgument'],
      ['a name whose entry is broken', { username: 'broken' }, '', 'InvalidArgument'],
      ['a name whose entry has no 32-bit id', { username: 'toobig' }, '', 'InvalidArgument'],
      ['a group that the image lacks', {}, '0:nogroup', 'InvalidArgument'],
      ['a number out of range that is also a name', {}, '4294967296', 'InvalidArgument'],
      ['a negative uid', { uid: -1n }, '', 'InvalidArgument'],
      ['a uid of 33 bits', { uid: 4294967296n }, '', 'InvalidArgument'],
      ['the uid that means "unchanged"', { uid: 4294967295n }, '', 'InvalidArgument'],
      ['a negative gid', { uid: 1n, gid: -1n }, '', 'InvalidArgument'],
      ['a supplemental group of 33 bits', { supplementalGroups: [4294967296n] }, '', 'InvalidArgument'],
      ['a group without user', { gid: 5n }, '', 'InvalidArgument'],
      ['user and name at once', { uid: 0n, username: 'www-data' }, '', 'InvalidArgument'],
      ['an image user that is neither', {}, 'a b', 'InvalidArgument'],
    ] as [string, Partial<UserRequest>, string, string][]) {
      it(`refuses ${name}`, () => {
        expect(codeOf(() => resolveUser(request(asked), image, files))).to.equal(code);
      });
    }

    it('does without files', () => {
      expect(resolveUser(request(), '', { passwd: undefined, group: undefined })).to.deep.equal({
        uid: 0,
        gid: 0,
        additionalGids: [0],
        home: '/',
      });
    });
  });

  for (const [text, uid, username] of [
    ['', undefined, ''],
    ['1002', 1002n, ''],
    ['1002:users', 1002n, ''],
    ['www-data', undefined, 'www-data'],
    ['www-data:users', undefined, 'www-data'],
    ['4294967296', undefined, '4294967296'],
  ] as [string, bigint | undefined, string][]) {
    it(`of an image: ${JSON.stringify(text)}`, () => {
      expect(describeImageUser(text)).to.deep.equal(uid === undefined ? { username } : { uid, username });
    });
  }
});
