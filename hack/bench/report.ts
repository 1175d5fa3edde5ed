import type { Figure } from './measure.js';

/** What a figure must reach: its ratio to the peer's figure of the same name or of another. */
interface Target {
  readonly name: string;
  readonly against: string;
  /** ours / theirs at most; for figures where more is better, at least. */
  readonly ratio: number;
}

const targets: readonly Target[] = [
  { name: 'host pod start p50', against: 'host pod start p50', ratio: 1 / 15 },
  { name: 'host ExecSync p50', against: 'host ExecSync p50', ratio: 1 / 15 },
  { name: 'pod lives per second, 10 in flight', against: 'pod lives per second, 10 in flight', ratio: 10 },
  { name: 'CPU per pod life', against: 'CPU per pod life', ratio: 1 / 12 },
  { name: 'memory per pod (PSS)', against: 'memory per pod (PSS)', ratio: 1 / 15 },
  { name: 'ListContainerStats(100) p50', against: 'ListContainerStats(100) p50', ratio: 1 / 15 },
  { name: 'pull and unpack of 240 MB', against: 'pull and unpack of 240 MB', ratio: 1 / 4 },
  { name: 'builtin RunPodSandbox p50', against: 'cni RunPodSandbox p50', ratio: 1 / 15 },
  { name: 'cni RunPodSandbox p50', against: 'cni RunPodSandbox p50', ratio: 1 / 4 },
];

/** One line per figure: theirs, ours, how many times better, and whether the target is met. */
export function printTable(results: ReadonlyMap<string, readonly Figure[]>): string {
  const ours = results.get('podwright') ?? [];
  const theirs = results.get('containerd') ?? [];
  const rows = (ours.length > 0 ? ours : theirs).map((figure) => row(figure, ours.length > 0 ? theirs : []));
  const header = ['', 'podwright', 'containerd', 'times better', 'target'];
  const widths = header.map((title, column) =>
    Math.max(title.length, ...rows.map((cells) => cells[column]?.length ?? 0)),
  );
  return [header, ...rows]
    .map((cells) =>
      cells
        .map((cell, column) =>
          column === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[column] ?? 0),
        )
        .join('  ')
        .trimEnd(),
    )
    .concat('')
    .join('\n');
}

function row(figure: Figure, theirs: readonly Figure[]): readonly string[] {
  const target = targets.find((entry) => entry.name === figure.name);
  const peer = theirs.find((entry) => entry.name === (target?.against ?? figure.name));
  const own = `${format(figure.value)} ${figure.unit}`;
  if (peer === undefined) return [figure.name, own, '', '', ''];
  const better = figure.more === true ? figure.value / peer.value : peer.value / figure.value;
  const wanted = target === undefined ? undefined : figure.more === true ? target.ratio : 1 / target.ratio;
  const verdict = wanted === undefined ? '' : `${format(wanted)} ${better >= wanted ? 'met' : 'MISSED'}`;
  return [figure.name, own, `${format(peer.value)} ${peer.unit}`, format(better), verdict];
}

function format(value: number): string {
  return value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2);
}
