import path from 'node:path';

/**
 * The direction of imports between the rooms, as an eslint rule: cri → runtime → native, no room of runtime into another
 * sideways, generated code only where its protocol is spoken. Types may be imported sideways, never upwards.
 */
export const direction = {
  meta: {
    type: 'problem',
    schema: [],
    messages: { refused: '{{from}} may not import {{to}}: {{reason}}' },
  },
  create(context) {
    const from = path.relative(context.cwd, context.filename);
    const check = (node) => {
      const source = node.source?.value;
      if (typeof source !== 'string' || !source.startsWith('.')) return;
      const to = path.join(path.dirname(from), source).replace(/\.js$/, '.ts');
      const reason = refusal(from, to, importsTypesOnly(node));
      if (reason !== undefined) context.report({ node, messageId: 'refused', data: { from, to, reason } });
    };
    return {
      ImportDeclaration: check,
      ExportNamedDeclaration: check,
      ExportAllDeclaration: check,
      ImportExpression: check,
    };
  },
};

function importsTypesOnly(node) {
  if (node.importKind === 'type' || node.exportKind === 'type') return true;
  return (
    node.specifiers?.length > 0 &&
    node.specifiers.every(({ importKind, exportKind }) => (importKind ?? exportKind) === 'type')
  );
}

const ranks = { native: 0, runtime: 1, cri: 2, e2e: 3, hack: 3 };

/** Rooms of runtime that hold what the others share. */
const shared = new Set(['base', 'spec']);

/** Why the import is refused, or undefined. */
export function refusal(from, to, typesOnly) {
  const [fromRoom] = from.split(path.sep);
  const [toRoom] = to.split(path.sep);
  const test = /\.(test|prop|suite)\.ts$/.test(from);
  if (toRoom === 'protos') return refusedProtos(from, to);
  if (test && to.startsWith(path.join('e2e', 'fixtures'))) return undefined;
  if (!(fromRoom in ranks) || !(toRoom in ranks)) return undefined;
  if (ranks[toRoom] > ranks[fromRoom]) return 'imports go cri → runtime → native';
  if (toRoom === 'native' && fromRoom !== 'native' && path.dirname(to) !== 'native')
    return 'the native part is used through its typed surface';
  if (fromRoom === 'runtime' && !test) return refusedInRuntime(from, to, typesOnly);
  return undefined;
}

function refusedProtos(from, to) {
  const room = from.split(path.sep)[0];
  if (room === 'e2e' || room === 'hack') return undefined;
  if (to.startsWith(path.join('protos', 'gen', 'criu')))
    return from.startsWith(path.join('runtime', 'checkpoint')) || room === 'cri'
      ? undefined
      : "CRIU's generated types stop at runtime/checkpoint";
  return room === 'cri' ? undefined : "the CRI's generated types stop at cri";
}

function refusedInRuntime(from, to, typesOnly) {
  const fromParts = from.split(path.sep);
  const toParts = to.split(path.sep);
  const inRoom = fromParts.length > 2;
  if (fromParts[1] === 'base' && inRoom && (toParts[0] !== 'runtime' || toParts[1] !== 'base'))
    return 'base imports nothing of ours';
  if (toParts[0] !== 'runtime' || !inRoom) return undefined;
  if (toParts.length === 2)
    return toParts[1] === 'index.ts' && !typesOnly ? 'rooms are composed by runtime/index.ts' : undefined;
  if (fromParts[1] === toParts[1] || shared.has(toParts[1]) || typesOnly) return undefined;
  return 'rooms of runtime receive each other from runtime/index.ts';
}
