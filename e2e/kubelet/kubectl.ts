import { spawn, type ChildProcessWithoutNullStreams } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { kubernetesTool } from './places.js';

/** The command that people use, against the cluster of a test. */
export interface Kubectl {
  /** @throws Error with what it wrote if it ends with another code than 0 */
  run(args: readonly string[], input?: string): Promise<string>;
  /** As run, with the code instead of the error. */
  outcome(args: readonly string[], input?: string): Promise<Outcome>;
  /** One that runs on, and is ended by who started it. */
  start(args: readonly string[]): ChildProcessWithoutNullStreams;
}

export interface Outcome {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export function makeKubectl(kubeconfig: string): Kubectl {
  const start = (args: readonly string[]): ChildProcessWithoutNullStreams =>
    spawn(kubernetesTool('kubectl'), ['--kubeconfig', kubeconfig, ...args], { cwd: '/' });
  const outcome = async (args: readonly string[], input = ''): Promise<Outcome> => {
    const child = start(args);
    const closed = once(child, 'close') as Promise<[number | null]>;
    // It may end before it has read everything.
    child.stdin.on('error', () => undefined).end(input);
    const [stdout, stderr, [code]] = await Promise.all([text(child.stdout), text(child.stderr), closed]);
    return { code, stdout, stderr };
  };
  return {
    start,
    outcome,
    run: async (args, input) => {
      const { code, stdout, stderr } = await outcome(args, input);
      if (code !== 0) throw new Error(`kubectl ${args.join(' ')} ended with ${code}: ${stderr}${stdout}`);
      return stdout;
    },
  };
}
