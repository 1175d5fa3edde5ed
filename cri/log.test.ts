import { PassThrough } from 'node:stream';
import { expect } from 'chai';
import { type LogFormat, type LogLevel, openLog, withFields } from './log.js';

function capture(level: LogLevel, format: LogFormat) {
  const stream = new PassThrough({ encoding: 'utf8' });
  const log = openLog({ level, format, stream });
  return { log, text: () => (stream.read() as string | null) ?? '' };
}

describe('log', () => {
  it('writes one JSON object per line', () => {
    const { log, text } = capture('info', 'json');
    log.info('container started', { containerId: 'c1', pid: 12, startedAtNs: 5n, missing: undefined });
    const { time, ...entry } = JSON.parse(text()) as Record<string, unknown>;
    expect(time).to.match(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/);
    expect(entry).to.deep.equal({
      level: 'info',
      message: 'container started',
      containerId: 'c1',
      pid: 12,
      startedAtNs: '5',
    });
  });

  it('writes text with fields that cannot break the line', () => {
    const { log, text } = capture('info', 'text');
    log.warn('rpc failed', { rpc: 'StopContainer', error: new Error('a\nb "c"') });
    expect(text()).to.match(/^\S+ warn {2}rpc failed rpc=StopContainer error="a\\nb \\"c\\""\n$/);
  });

  it('leaves out what is below its level', () => {
    const { log, text } = capture('warn', 'text');
    log.info('nothing');
    log.debug('nothing');
    expect(text()).to.equal('');
  });

  it('takes another level and form while it runs', () => {
    const { log, text } = capture('warn', 'text');
    log.reconfigure({ level: 'debug', format: 'json' });
    log.debug('now', { containerId: 'c1' });
    expect(JSON.parse(text())).to.include({ level: 'debug', message: 'now', containerId: 'c1' });
    log.reconfigure({ level: 'error', format: 'json' });
    log.info('nothing');
    expect(text()).to.equal('');
  });

  it('never writes a secret, at any depth', () => {
    const { log, text } = capture('debug', 'json');
    const auth = { username: 'u', password: 'S3CRET', identityToken: 'S3CRET', registry_token: 'S3CRET' };
    log.info('pull', { auth: 'S3CRET', request: { nested: [auth] }, Authorization: 'Bearer S3CRET' });
    const line = text();
    expect(line).not.to.contain('S3CRET');
    expect(line).to.contain('"username":"u"');
  });

  it('a field never replaces the message or the level', () => {
    const { log, text } = capture('info', 'text');
    log.info('real', { message: 'false', level: 'error' });
    expect(text()).to.match(/ info {2}real message=false level=error\n$/);
  });

  it('shortens long values and survives cycles', () => {
    const { log, text } = capture('info', 'json');
    const cycle: Record<string, unknown> = {};
    cycle['self'] = cycle;
    log.info('x', { long: 'y'.repeat(100_000), cycle, bytes: Buffer.alloc(100_000) });
    expect(text().length).to.be.below(6000);
  });

  it('binds fields', () => {
    const { log, text } = capture('info', 'text');
    withFields(log, { rpc: 'Version' }).info('answered', { durationMs: 1 });
    expect(text()).to.match(/ answered rpc=Version durationMs=1\n$/);
  });
});
