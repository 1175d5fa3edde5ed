import { readFile } from 'node:fs/promises';

/** One spec of a run of the suite. */
export interface SpecResult {
  readonly name: string;
  readonly outcome: 'passed' | 'failed' | 'skipped';
  /** Why it failed, or why the suite itself left it out. */
  readonly message: string;
  readonly seconds: number;
}

/** The parts that we read of Ginkgo's JSON report. */
interface Suite {
  readonly SpecReports: readonly Spec[] | null;
}

interface Spec {
  readonly LeafNodeType: string;
  readonly LeafNodeText: string;
  readonly ContainerHierarchyTexts: readonly string[] | null;
  readonly State: string;
  readonly RunTime: number;
  readonly Failure?: {
    readonly Message: string;
    readonly Location: { readonly FileName: string; LineNumber: number };
  };
}

/** Reads Ginkgo's JSON report. The suite's benchmarks, which a conformance run always leaves out, are not specs. */
export async function readReport(file: string): Promise<readonly SpecResult[]> {
  const suites = JSON.parse(await readFile(file, 'utf8')) as readonly Suite[];
  const specs = suites.flatMap((suite) => suite.SpecReports ?? []);
  // A failed set-up of the whole suite is a node of its own.
  const counted = specs.filter((spec) => spec.LeafNodeType === 'It' || outcomeOf(spec) === 'failed');
  return counted.map(resultOf).filter(({ name }) => !name.includes('benchmark about'));
}

function resultOf(spec: Spec): SpecResult {
  const { Failure: failure } = spec;
  const text = [...(spec.ContainerHierarchyTexts ?? []), spec.LeafNodeText || spec.LeafNodeType].join(' ');
  const where = failure === undefined ? '' : ` (${failure.Location.FileName}:${failure.Location.LineNumber})`;
  return {
    name: text,
    outcome: outcomeOf(spec),
    message: failure === undefined ? '' : failure.Message + where,
    seconds: spec.RunTime / 1e9,
  };
}

/** Everything that is neither passed nor skipped (panicked, timed out, interrupted …) has failed. */
function outcomeOf({ State: state }: Spec): SpecResult['outcome'] {
  if (state === 'passed') return 'passed';
  return state === 'skipped' || state === 'pending' ? 'skipped' : 'failed';
}

/** Prints what did not pass with its reason and ends with the totals. */
export function printReport(results: readonly SpecResult[], skipReasons: ReadonlyMap<string, string>): void {
  for (const { name, outcome, message, seconds } of results) {
    const reason = skipReasons.get(name) ?? message;
    const detail = outcome === 'skipped' ? ` [${reason}]` : '';
    console.log(`${outcome.padEnd(8)}${seconds.toFixed(1).padStart(6)} s  ${name}${detail}`);
    if (outcome === 'failed') console.log(indent(message));
  }
  const count = (outcome: SpecResult['outcome']): number =>
    results.filter((result) => result.outcome === outcome).length;
  console.log(`\n${count('passed')} passed, ${count('failed')} failed, ${count('skipped')} skipped`);
}

function indent(text: string): string {
  return text.split('\n').slice(0, 30).join('\n').replace(/^/gm, '          ');
}
