/** Where metrics are served. */
export type MetricsAddress = { readonly path: string } | { readonly host: string; readonly port: number };

const form = /^(?:unix:(?<path>\/.+)|(?:\[(?<v6>[0-9a-fA-F:]+)\]|(?<host>[^:[\]/\s]+)):(?<port>\d{1,5}))$/;

/** `unix:/path`, `host:port` or `[v6]:port`; undefined for anything else. */
export function parseMetricsAddress(text: string): MetricsAddress | undefined {
  const { path, v6, host, port } = form.exec(text)?.groups ?? {};
  if (path !== undefined) return path.includes('\0') || Buffer.byteLength(path) > 107 ? undefined : { path };
  const name = v6 ?? host;
  if (name === undefined || Number(port) > 65_535) return undefined;
  return { host: name, port: Number(port) };
}
