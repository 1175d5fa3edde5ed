import type { Timestamp } from '../../protos/gen/google/protobuf/timestamp.js';

const NS_PER_S = 1_000_000_000n;

export function toTimestamp(ns: bigint): Timestamp {
  return { seconds: ns / NS_PER_S, nanos: Number(ns % NS_PER_S) };
}
