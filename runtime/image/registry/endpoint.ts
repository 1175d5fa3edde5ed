/** One place where a registry's content can be had: the registry itself or a mirror of it. */
export interface Endpoint {
  /** `https://mirror.example:5000` */
  readonly origin: string;
  /** `mirror.example:5000` */
  readonly host: string;
  /** What comes before `/REPOSITORY/manifests/…`: `/v2` unless the configuration overrides it. */
  readonly prefix: string;
  /** Whether it may turn tags into digests, or only deliver content by digest. */
  readonly resolves: boolean;
  /** Not the registry that the reference names: it is told which one is meant, and gets credentials only by its own name. */
  readonly mirror: boolean;
  readonly tls: TlsSettings;
  /** Sent with every request to this host, and to no other. */
  readonly headers: Readonly<Record<string, readonly string[]>>;
  readonly dialTimeoutMs: number;
  /** The same place by plain http, for when it turns out to speak no TLS: a registry on loopback that nobody configured. */
  readonly plainHttp?: Endpoint;
}

/** PEM texts, read when the pull began: a change in the files is seen by the next pull. */
export interface TlsSettings {
  /** Trusted besides the system's. */
  readonly ca: readonly string[];
  readonly client: readonly { readonly cert: string; readonly key: string }[];
  readonly skipVerify: boolean;
}

export const defaultTls: TlsSettings = { ca: [], client: [], skipVerify: false };
export const defaultDialTimeoutMs = 30_000;
