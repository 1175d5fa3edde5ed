import { z } from 'zod';

const text = z.string();

/** Who an entry is about. What a call asked for and never got has no id: it is known by its names. */
const subjectSchema = z.object({
  kind: z.enum(['pod', 'container', 'image']),
  id: text,
  /** Of the pod or container; the reference of an image. */
  name: text,
  attempt: z.number(),
  /** The pod it belongs to; of an image, the pod it was pulled for. */
  pod: z.object({ id: text, name: text, namespace: text, uid: text }).optional(),
  /** What a container was to be made from. */
  image: text.optional(),
  /** Host path of a container's log. */
  log: text.optional(),
});

const failureSchema = z.object({
  /** The whole sentence, as the client got it. */
  sentence: text,
  code: text,
  reason: text.optional(),
  step: text.optional(),
  output: text.optional(),
  systemCall: z.object({ syscall: text, errno: text, path: text.optional() }).optional(),
});

/** One thing that happened to a pod, a container or an image; the form in memory and, a line each, on disk. */
export const entrySchema = z.object({
  /** Of a call, when it began. */
  atMs: z.number(),
  /** `create container`, `pull image`, `exited` … */
  what: text,
  subject: subjectSchema,
  durationMs: z.number().optional(),
  stagesMs: z.record(z.string(), z.number()).optional(),
  /** How a container ended. */
  exit: z.object({ code: z.number(), signal: z.number(), reason: text, message: text }).optional(),
  /** Anything else worth saying. */
  note: text.optional(),
  failure: failureSchema.optional(),
  /** How often in a row it has happened, and when first. */
  times: z.number().optional(),
  firstAtMs: z.number().optional(),
});

export type Subject = Readonly<z.infer<typeof subjectSchema>>;
export type Failure = Readonly<z.infer<typeof failureSchema>>;
export type JournalEntry = Readonly<z.infer<typeof entrySchema>>;

/** Texts are cut, so that one failure cannot fill the journal. */
export const maxTextLength = 2048;

/** The entry with all of its texts at their greatest length, and without what is undefined. */
export function cutTexts(entry: JournalEntry): JournalEntry {
  return cut(entry) as JournalEntry;
}

function cut(value: unknown): unknown {
  if (typeof value === 'string')
    return value.length <= maxTextLength ? value : `${value.slice(0, maxTextLength)}…`;
  if (typeof value !== 'object' || value === null) return value;
  const copy: Record<string, unknown> = {};
  for (const [key, inner] of Object.entries(value)) if (inner !== undefined) copy[key] = cut(inner);
  return copy;
}

/** Entries with the same key are about the same object, whether it was made or not. */
export function keyOf({ kind, name, attempt, pod }: Subject): string {
  const parts = kind === 'image' ? [kind, name] : [kind, pod?.namespace, pod?.name, pod?.uid, name, attempt];
  return parts.join('\0');
}

/** Whether something went wrong: a call that failed, or a container that ended with another code than 0. */
export function isTrouble({ failure, exit }: JournalEntry): boolean {
  return failure !== undefined || (exit !== undefined && exit.code !== 0);
}
