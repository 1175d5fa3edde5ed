import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { startDaemon } from '../e2e/daemon.js';
import { tool } from '../e2e/places.js';

/** Runs a daemon on scratch directories until it is interrupted, shows its log, and removes everything afterwards. */
async function main(): Promise<void> {
  const settings = Object.fromEntries(process.argv.slice(2).map(parseSetting));
  const daemon = await startDaemon({ settings: { 'log.level': 'debug', ...settings } });
  console.log(`socket:   ${daemon.socket}`);
  console.log(`scratch:  ${daemon.instance.scratch}`);
  console.log(`try:      ${tool('crictl')} -r unix://${daemon.socket} pods\n`);
  const log = spawn('tail', ['--follow', '--lines=+1', daemon.log], { stdio: 'inherit', detached: true });
  await Promise.race([once(process, 'SIGINT'), once(process, 'SIGTERM')]);
  log.kill();
  console.log('\nremoving everything');
  await daemon.end();
}

function parseSetting(setting: string): [string, string] {
  const [key = '', ...value] = setting.split('=');
  return [key, value.join('=')];
}

await main();
