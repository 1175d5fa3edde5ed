import assert from 'node:assert/strict';
import { test } from 'node:test';
import { refusal } from './rooms.js';

const allowed = [
  ['cri/server.ts', 'runtime/index.ts', false],
  ['cri/translate/spec.ts', 'protos/gen/cri/runtime/v1/api.ts', false],
  ['runtime/container/start.ts', 'native/index.ts', false],
  ['runtime/container/start.ts', 'runtime/base/rollback.ts', false],
  ['runtime/container/start.ts', 'runtime/container/record.ts', false],
  ['runtime/container/start.ts', 'runtime/monitor/types.ts', true],
  ['runtime/index.ts', 'runtime/container/index.ts', false],
  ['runtime/checkpoint/client.ts', 'protos/gen/criu/rpc.ts', false],
  ['runtime/image/pull.test.ts', 'e2e/fixtures/registry.ts', false],
  ['runtime/image/pull.test.ts', 'runtime/snapshot/index.ts', false],
  ['e2e/daemon.ts', 'runtime/base/ids.ts', false],
];

const refused = [
  ['runtime/container/start.ts', 'cri/config.ts', true],
  ['native/index.ts', 'runtime/errors.ts', false],
  ['runtime/container/start.ts', 'runtime/monitor/client.ts', false],
  ['runtime/container/start.ts', 'runtime/index.ts', false],
  ['runtime/base/rollback.ts', 'runtime/errors.ts', false],
  ['runtime/container/start.ts', 'native/addon/binding.ts', false],
  ['runtime/container/start.ts', 'protos/gen/cri/runtime/v1/api.ts', true],
  ['runtime/container/start.ts', 'protos/gen/criu/rpc.ts', true],
  ['cri/server.ts', 'e2e/daemon.ts', false],
];

for (const [from, to, typesOnly] of allowed)
  test(`${from} may import ${to}`, () => assert.equal(refusal(from, to, typesOnly), undefined));

for (const [from, to, typesOnly] of refused)
  test(`${from} may not import ${to}`, () => assert.equal(typeof refusal(from, to, typesOnly), 'string'));
