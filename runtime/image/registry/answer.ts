import { z } from 'zod';
import { RuntimeError } from '../../errors.js';
import { answerLimitBytes } from '../limits.js';
import type { TransportResponse } from './transport.js';

/**
 * Reads a body whole, up to a limit.
 * @throws ResourceExhausted if it is longer.
 */
export async function readAnswer(
  response: TransportResponse,
  limitBytes: number,
  what: string,
): Promise<Buffer> {
  const tooLong = (): RuntimeError =>
    new RuntimeError('ResourceExhausted', `read ${what}`, {
      cause: `it is larger than the ${limitBytes} bytes allowed`,
      reason: 'AnswerTooLarge',
    });
  if (Number(response.headers['content-length'] ?? 0) > limitBytes) {
    response.discard();
    throw tooLong();
  }
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of response.body) {
    length += chunk.length;
    if (length > limitBytes) throw tooLong();
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

const errorsSchema = z.object({
  errors: z.array(z.object({ code: z.string().optional(), message: z.string().optional() })).optional(),
  details: z.string().optional(),
});

/** What a registry says about its refusal, as short plain text; empty if it says nothing we can use. */
export async function readRefusal(response: TransportResponse): Promise<string> {
  try {
    const body = await readAnswer(response, answerLimitBytes, 'error answer');
    const { errors = [], details } = errorsSchema.parse(JSON.parse(body.toString('utf8')));
    const first = errors[0];
    return plain(first?.message || first?.code || details || '');
  } catch {
    return '';
  }
}

function plain(text: string): string {
  return text
    .replace(/[^\x20-\x7e]+/g, ' ')
    .trim()
    .slice(0, 200);
}
