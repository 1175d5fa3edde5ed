import { expect } from 'chai';
import { eventually } from '../eventually.js';
import type { Cluster } from './cluster.js';
import { startMetricsServer, type MetricsServer } from './metrics-server.js';
import { nodeName } from './places.js';

/** What people see of it all with `kubectl top`. */
export function topSuite(of: () => Cluster): void {
  let server: MetricsServer | undefined;
  before(async () => {
    server = await startMetricsServer(of().controlPlane);
  });
  after(async () => {
    await server?.end();
  });

  it('shows people what pods, their containers and the node use', async () => {
    const { kubectl, remove, run, shell } = of();
    const work = 'dd if=/dev/zero of=/dev/shm/file bs=1M count=8 2>/dev/null; while :; do :; done';
    const limits = { cpu: '100m', memory: '64Mi' };
    await run('worker', [shell('busy', work, { resources: { limits } }), shell('idle', 'exec sleep 1000')]);
    const top = async (...args: readonly string[]): Promise<readonly Use[]> => {
      const { code, stdout } = await kubectl.outcome(['top', ...args, '--no-headers']);
      return code === 0 ? stdout.trimEnd().split('\n').map(useOf) : [];
    };
    const containers = await eventually(
      () => top('pod', 'worker', '--containers'),
      (uses) => uses.some(({ name, cores }) => name === 'worker busy' && cores > 0),
      90_000,
    );
    expect(containers.map(({ name }) => name)).to.have.members(['worker busy', 'worker idle']);
    const [busy, idle] = ['busy', 'idle'].map((which) =>
      containers.find(({ name }) => name === `worker ${which}`),
    );
    // The limit holds for each tenth of a second, and two looks are not at the same point of one.
    expect(busy?.cores).to.be.within(0.001, 0.2);
    expect(busy?.mebibytes).to.be.within(8, 64);
    expect(idle?.cores).to.be.below(0.02);
    const [pod] = await top('pod', 'worker');
    expect(pod).to.include({ name: 'worker' });
    expect(pod?.cores).to.be.within(0.001, 0.2);
    expect(pod?.mebibytes).to.be.within(8, 80);
    const [node] = await top('node', nodeName);
    expect(node).to.include({ name: nodeName });
    expect(node?.cores).to.be.above(0);
    expect(node?.mebibytes).to.be.above(64);
    await remove('worker');
  });
}

/** A line of the table. */
interface Use {
  /** Of the pod, of both pod and container, or of the node. */
  readonly name: string;
  readonly cores: number;
  readonly mebibytes: number;
}

/** Percentages, which follow in the lines of nodes, are left out. */
function useOf(line: string): Use {
  const match = /^(?<name>\S+(?: +[a-z]\S*)?) +(?<cores>\d+)m +(?:\d+% +)?(?<mebibytes>\d+)Mi/.exec(line);
  const { name = '', cores, mebibytes } = match?.groups ?? {};
  if (match === null) throw new Error(`not a line of kubectl top: ${line}`);
  return { name: name.replace(/ +/, ' '), cores: Number(cores) / 1000, mebibytes: Number(mebibytes) };
}
