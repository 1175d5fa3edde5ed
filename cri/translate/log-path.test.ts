import { expect } from 'chai';
import { toLogPath } from './log-path.js';
import { refusalOf } from '../testing/refusal.js';

describe('log path', () => {
  for (const [directory, logPath, expected] of [
    ['/var/log/pods/p', 'app/0.log', { directory: '/var/log/pods/p', path: 'app/0.log' }],
    ['/var/log/pods/p', './app//0.log', { directory: '/var/log/pods/p', path: 'app/0.log' }],
    ['/var/log/pods/p', '', undefined],
    ['', 'app/0.log', undefined],
  ] as const) {
    it(`${JSON.stringify(logPath)} below ${JSON.stringify(directory)}`, () => {
      expect(toLogPath(directory, logPath)).to.deep.equal(expected);
    });
  }
  for (const logPath of [
    '/etc/x',
    '../x',
    'a/../../x',
    'a\0',
    'a/',
    '.',
    `a/${'x'.repeat(256)}`,
    'a/'.repeat(3000),
    'a\nb',
  ]) {
    it(`refuses ${JSON.stringify(logPath.slice(0, 20))}`, () => {
      expect(refusalOf(() => toLogPath('/logs', logPath))).to.match(/^InvalidArgument: config\.log_path/);
    });
  }
});
