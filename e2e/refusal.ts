import type { status } from '@grpc/grpc-js';

/** How a call was refused. */
export interface Refusal {
  readonly code: status;
  /** The server's sentence. */
  readonly details: string;
}

/** @throws Error if the call is not refused */
export async function refusal(call: Promise<unknown>): Promise<Refusal> {
  let answer: unknown;
  try {
    answer = await call;
  } catch (error) {
    if (error instanceof Error && 'code' in error && 'details' in error) return error as Error & Refusal;
    throw error;
  }
  const text = JSON.stringify(answer, (_, value: unknown) =>
    typeof value === 'bigint' ? Number(value) : value,
  );
  throw new Error(`not refused, but answered: ${text.slice(0, 300)}`);
}
