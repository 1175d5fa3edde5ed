import { setTimeout as delay } from 'node:timers/promises';
import { expect } from 'chai';
import { RuntimeError } from '../../runtime/errors.js';
import { Tokens } from './tokens.js';

describe('tokens', () => {
  it('serve once', () => {
    const tokens = new Tokens<string>();
    const [one, other] = [tokens.add('one'), tokens.add('other')];
    expect(one)
      .to.match(/^[\w-]{22}$/)
      .and.not.to.equal(other);
    expect([tokens.take(one), tokens.take(one), tokens.take('x'), tokens.take(other)]).to.deep.equal([
      'one',
      undefined,
      undefined,
      'other',
    ]);
  });

  it('expire', async () => {
    const tokens = new Tokens<string>({ lifetimeMs: 5 });
    const token = tokens.add('late');
    await delay(20);
    expect(tokens.take(token)).to.equal(undefined);
  });

  it('are limited in number', () => {
    const tokens = new Tokens<number>({ atMost: 2 });
    const first = tokens.add(1);
    tokens.add(2);
    expect(() => tokens.add(3)).to.throw(RuntimeError, '2 streaming sessions wait for their client');
    tokens.take(first);
    tokens.add(4);
    tokens.clear();
  });
});
