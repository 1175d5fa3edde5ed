/** A set of tests that runs in a machine of its own. */
export interface Group {
  readonly name: string;
  readonly shows: string;
  /** For bash, in the tree, with the tools in PATH. Prints lines of totals. */
  readonly command: string;
  /** On a machine that is as fast as the host; the factor is for the emulated one. */
  readonly limitSeconds: number;
}

const mocha = (...files: readonly string[]): string =>
  [
    'node_modules/.bin/mocha --no-config --exit --forbid-only',
    '--require dist/e2e/vm/patient-mocha.js --timeout 120000 --reporter hack/mocha-totals.js',
    ...files.map((file) => `'dist/${file}'`),
  ].join(' ');

/** The files of a capability: NAME.e2e.ts, NAME-MORE.e2e.ts. */
const endToEnd = (name: string, shows: string, limitSeconds = 60): Group => ({
  name,
  shows,
  command: mocha(`e2e/${name}{,-*}.e2e.js`),
  limitSeconds,
});

export const groups: readonly Group[] = [
  {
    name: 'apparmor-critest',
    shows: 'the AppArmor specs of the CRI validation suite',
    command: "node dist/e2e/critest.js --all --focus 'AppArmor'",
    limitSeconds: 60,
  },
  endToEnd('apparmor', 'profiles in force, and what the default one denies'),
  {
    name: 'critest',
    shows: 'the CRI validation suite on cgroup v2',
    command: 'node dist/e2e/critest.js --all; status=$?; cp dist/critest.log "$RESULTS"; exit $status',
    limitSeconds: 240,
  },
  {
    name: 'cgroup',
    shows: 'the cgroup driver on v2',
    command: mocha('runtime/cgroup/**/*.test.js'),
    limitSeconds: 30,
  },
  {
    name: 'plan',
    shows: 'launch plans, monitors and the native part on this kernel',
    command: mocha('runtime/plan/**/*.test.js', 'runtime/monitor/**/*.test.js', 'native/**/*.test.js'),
    limitSeconds: 90,
  },
  endToEnd('limits', 'limits in the files of v2, and at work'),
  endToEnd('crictl', 'every crictl command'),
  endToEnd('checkpoint', 'checkpoint and restore on v2'),
  endToEnd('restart', 'the daemon killed and restarted, another boot', 120),
  endToEnd('kill', 'the daemon killed at random moments', 120),
  endToEnd('inside', 'container processes that mean harm'),
  endToEnd('hostile', 'requests and images that mean harm', 120),
  endToEnd('logs', 'logs, rotation, a full disk'),
  endToEnd('network', 'the built-in network and CNI plugins', 120),
  endToEnd('user-namespaces', 'pods in user namespaces'),
  endToEnd('streaming', 'exec, attach and forwarded ports, in every protocol', 180),
  endToEnd('idmapped-volumes', 'volumes whose owners are others on the host'),
  endToEnd('failpoints', 'a crash and an error at each step', 180),
  endToEnd('metrics', 'figures of pods and containers'),
  endToEnd('why', 'one sentence for each of the usual failures'),
  endToEnd('semantics', 'what containers may ask for besides'),
  endToEnd('conformance', 'calls that the validation suite never makes'),
];
