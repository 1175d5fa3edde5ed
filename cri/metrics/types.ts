import type { ErrorCode } from '../../runtime/errors.js';

/** How a call ended. */
export type CallCode = ErrorCode | 'OK';

/** Metrics of this daemon, where a configuration asks for them. */
export interface Metrics {
  /** A call of a gRPC method (`/package.Service/Method`) has arrived; to be told how it ended. */
  begin(path: string): (code: CallCode) => void;
  /** Closes the socket. */
  close(): Promise<void>;
}
