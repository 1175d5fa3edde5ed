import { messageOf } from '../runtime/errors.js';
import { type WhyCommand, parseCommandLine, usage } from './command-line.js';
import type { ConfigSources } from './config.js';
import { readVersion } from './version.js';

/** The program: one command, its errors as one line on standard error. */
async function main(argv: readonly string[]): Promise<void> {
  const command = parseCommandLine(argv);
  switch (command.name) {
    case 'help':
      process.stdout.write(usage);
      return;
    case 'version':
      process.stdout.write(`podwright ${await readVersion()}\n`);
      return;
    case 'reference':
      process.stdout.write((await import('./config-print.js')).printReference());
      return;
    case 'config':
      return printEffectiveConfig(command.sources);
    case 'why':
      return printWhy(command);
    case 'serve':
      // Loaded on use: the other commands need neither gRPC nor the addon.
      return (await import('./daemon.js')).runDaemon(command.sources);
  }
}

async function printEffectiveConfig(sources: ConfigSources): Promise<void> {
  const { loadConfig } = await import('./config.js');
  const { printConfig } = await import('./config-print.js');
  process.stdout.write(printConfig(await loadConfig(sources)));
}

async function printWhy({ object, json, sources }: WhyCommand): Promise<void> {
  const { loadConfig } = await import('./config.js');
  const { askWhy } = await import('./journal/ask.js');
  const { printExplanation } = await import('./journal/print.js');
  const { config } = await loadConfig(sources);
  const explanation = await askWhy(config.socket, object);
  process.stdout.write(
    json ? `${JSON.stringify(explanation, undefined, 2)}\n` : printExplanation(explanation),
  );
}

try {
  await main(process.argv.slice(2));
} catch (error) {
  process.stderr.write(`podwright: ${messageOf(error)}\n`);
  // What was opened before the failure must not keep the process.
  process.exit(1);
}
