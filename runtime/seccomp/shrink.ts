/** One `struct sock_filter`: classic BPF as `man 2 seccomp` and linux/filter.h have it. */
interface Instruction {
  readonly code: number;
  readonly jt: number;
  readonly jf: number;
  readonly k: number;
}

const LOAD = 0x20;
const JUMP = 0x05;
const EQUAL = 0x15;
const GREATER = 0x25;
const AT_LEAST = 0x35;
const RETURN = 0x06;

/** Offsets in `struct seccomp_data`. */
const NUMBER = 0;
const ARCHITECTURE = 4;

const INSTRUCTION_BYTES = 8;
const FARTHEST = 255;
const WORD_END = 2 ** 32;

/**
 * What a program says of a call by its architecture and number: an answer, or, as its complement, the place that looks at
 * its arguments. Plain numbers: the daemon is small when it starts, and there are thousands of them.
 */
type Outcome = number;

interface Range {
  /** The first number; the last one is before the next range. */
  readonly from: number;
  readonly outcome: Outcome;
}

/**
 * The same filter in fewer instructions. libseccomp compares with every call's number; most calls that are allowed are
 * neighbours, so a search for the range a number is in takes a tenth of that. The kernel translates a filter anew for
 * every process that installs it: with a container, and with each command executed in it.
 *
 * A program that does anything else before it looks at arguments is returned as it is.
 */
export function shrink(bpf: Buffer): Buffer {
  const program = decodeProgram(bpf);
  const constants = comparedWith(program);
  if (constants === undefined) return bpf;
  const numbers = starts(constants.number);
  const tables = starts(constants.architecture).map((architecture) => ({
    from: architecture,
    ranges: rangesOf(numbers, (number) => decide(program, architecture, number)),
  }));
  const writer = new Writer(program);
  const byRanges = new Map<string, number>();
  const places = tables.map(({ from, ranges }) => {
    const key = JSON.stringify(ranges);
    const place =
      byRanges.get(key) ??
      writer.load(
        NUMBER,
        writer.search(
          ranges.map(({ from: at, outcome }) => ({ from: at, place: () => writer.outcome(outcome) })),
        ),
      );
    byRanges.set(key, place);
    return { from, place };
  });
  const distinct = places.filter(({ place }, index) => place !== places[index - 1]?.place);
  writer.load(ARCHITECTURE, writer.search(distinct.map(({ from, place }) => ({ from, place: () => place }))));
  const shrunk = writer.finish();
  return shrunk.length < bpf.length ? shrunk : bpf;
}

function decodeProgram(bpf: Buffer): readonly Instruction[] {
  // In the byte order of the machine, as the kernel takes them.
  const bytes = Uint8Array.from(bpf);
  const [halves, words] = [new Uint16Array(bytes.buffer), new Uint32Array(bytes.buffer)];
  return Array.from({ length: bytes.length / INSTRUCTION_BYTES }, (_, index) => ({
    code: halves[index * 4] ?? 0,
    jt: bytes[index * INSTRUCTION_BYTES + 2] ?? 0,
    jf: bytes[index * INSTRUCTION_BYTES + 3] ?? 0,
    k: words[index * 2 + 1] ?? 0,
  }));
}

interface Constants {
  readonly architecture: ReadonlySet<number>;
  readonly number: ReadonlySet<number>;
}

/**
 * What a program compares architecture and number with, as long as it looks at nothing else; undefined where it does
 * more than compare them. Jumps only lead onwards, so that one pass sees whatever may be in the accumulator.
 */
function comparedWith(program: readonly Instruction[]): Constants | undefined {
  const constants = { architecture: new Set<number>(), number: new Set<number>() };
  const loaded = new Uint8Array(program.length);
  loaded[0] = Loaded.nothing;
  for (const [at, { code, jt, jf, k }] of program.entries()) {
    const before = loaded[at] ?? 0;
    if (before === 0) continue; // nothing leads here
    const known = (before & (Loaded.nothing | Loaded.argument)) === 0;
    const inArguments = before === Loaded.argument;
    const handOn = (target: number, what: number): void => {
      loaded[target] = (loaded[target] ?? 0) | what;
    };
    if (code === LOAD) handOn(at + 1, loadedFrom(k));
    else if (code === JUMP) handOn(at + 1 + k, before);
    else if (isBranch(code)) {
      const compares = code === EQUAL || code === GREATER || code === AT_LEAST;
      if (!inArguments && !(known && compares)) return undefined;
      if ((before & Loaded.architecture) !== 0) constants.architecture.add(k);
      if ((before & Loaded.number) !== 0) constants.number.add(k);
      handOn(at + 1 + jt, before);
      handOn(at + 1 + jf, before);
    } else if (code !== RETURN) {
      if (!inArguments) return undefined;
      handOn(at + 1, before);
    }
  }
  return constants;
}

/** What may be in the accumulator; several bits where several ways lead to an instruction. */
const Loaded = { nothing: 1, number: 2, architecture: 4, argument: 8 } as const;

function loadedFrom(offset: number): number {
  if (offset === NUMBER) return Loaded.number;
  return offset === ARCHITECTURE ? Loaded.architecture : Loaded.argument;
}

function isBranch(code: number): boolean {
  return (code & 7) === JUMP && code !== JUMP;
}

/** Between two of these a comparison with any of the constants has the same result. */
function starts(constants: ReadonlySet<number>): readonly number[] {
  const all = new Set([0, ...[...constants].flatMap((constant) => [constant, constant + 1])]);
  return [...all].filter((start) => start < WORD_END).sort((one, other) => one - other);
}

function decide(program: readonly Instruction[], architecture: number, number: number): Outcome {
  let accumulator = 0;
  for (let at = 0; ;) {
    const instruction = program[at];
    if (instruction === undefined) throw new Error('a filter ends without an answer');
    const { code, jt, jf, k } = instruction;
    if (code === RETURN) return k;
    if (code === LOAD && k !== NUMBER && k !== ARCHITECTURE) return ~at;
    if (code === LOAD) accumulator = k === NUMBER ? number : architecture;
    at += 1 + (code === JUMP ? k : isBranch(code) ? (holds(code, accumulator, k) ? jt : jf) : 0);
  }
}

function holds(code: number, accumulator: number, k: number): boolean {
  if (code === EQUAL) return accumulator === k;
  return code === GREATER ? accumulator > k : accumulator >= k;
}

function rangesOf(starts: readonly number[], decideFor: (number: number) => Outcome): readonly Range[] {
  const ranges: Range[] = [];
  for (const from of starts) {
    const outcome = decideFor(from);
    if (outcome !== ranges.at(-1)?.outcome) ranges.push({ from, outcome });
  }
  return ranges;
}

/** Writes a program from its end, so that what is jumped to is there before the jump. A place counts from the end. */
class Writer {
  readonly #written: Instruction[] = [];
  readonly #answers = new Map<number, number>();
  readonly #copies = new Map<number, number>();

  constructor(private readonly source: readonly Instruction[]) {}

  outcome(outcome: Outcome): number {
    return outcome >= 0 ? this.#answer(outcome) : this.#copy(~outcome);
  }

  /** Goes on where the accumulator's range says. */
  search(ranges: readonly { readonly from: number; readonly place: () => number }[]): number {
    const [first] = ranges;
    if (first === undefined) throw new Error('a search needs a range');
    const middle = Math.ceil(ranges.length / 2);
    const upper = ranges.slice(middle);
    const [pivot] = upper;
    if (pivot === undefined) return first.place();
    const above = this.search(upper);
    return this.#branch({ code: AT_LEAST, k: pivot.from }, above, this.search(ranges.slice(0, middle)));
  }

  load(offset: number, next: number): number {
    this.#goOn(next);
    return this.#write({ code: LOAD, jt: 0, jf: 0, k: offset });
  }

  finish(): Buffer {
    const bytes = new Uint8Array(this.#written.length * INSTRUCTION_BYTES);
    const [halves, words] = [new Uint16Array(bytes.buffer), new Uint32Array(bytes.buffer)];
    for (const [index, { code, jt, jf, k }] of this.#written.reverse().entries()) {
      halves[index * 4] = code;
      bytes[index * INSTRUCTION_BYTES + 2] = jt;
      bytes[index * INSTRUCTION_BYTES + 3] = jf;
      words[index * 2 + 1] = k;
    }
    return Buffer.from(bytes.buffer);
  }

  #write(instruction: Instruction): number {
    return this.#written.push(instruction) - 1;
  }

  /** How far a jump that is written next has to go. */
  #distance(place: number): number {
    return this.#written.length - 1 - place;
  }

  #answer(value: number): number {
    const known = this.#answers.get(value);
    if (known !== undefined && this.#distance(known) < FARTHEST - 1) return known;
    const place = this.#write({ code: RETURN, jt: 0, jf: 0, k: value });
    this.#answers.set(value, place);
    return place;
  }

  /** What the source does from here on. */
  #copy(at: number): number {
    const known = this.#copies.get(at);
    if (known !== undefined) return known;
    const instruction = this.source[at];
    if (instruction === undefined) throw new Error('a filter ends without an answer');
    const place = this.#copyInstruction(at, instruction);
    this.#copies.set(at, place);
    return place;
  }

  #copyInstruction(at: number, instruction: Instruction): number {
    const { code, jt, jf, k } = instruction;
    if (code === RETURN) return this.#answer(k);
    if (code === JUMP) return this.#copy(at + 1 + k);
    if (isBranch(code)) return this.#branch({ code, k }, this.#copy(at + 1 + jt), this.#copy(at + 1 + jf));
    this.#goOn(this.#copy(at + 1));
    return this.#write(instruction);
  }

  #branch(comparison: Pick<Instruction, 'code' | 'k'>, yes: number, no: number): number {
    if (yes === no) return yes;
    // Reaching the second may take an instruction more.
    const nearYes = this.#within(FARTHEST - 1, yes);
    const nearNo = this.#within(FARTHEST, no);
    return this.#write({ ...comparison, jt: this.#distance(nearYes), jf: this.#distance(nearNo) });
  }

  /** Conditional jumps go 255 instructions far at most, others as far as they like. */
  #within(limit: number, place: number): number {
    const distance = this.#distance(place);
    return distance <= limit ? place : this.#write({ code: JUMP, jt: 0, jf: 0, k: distance });
  }

  #goOn(next: number): void {
    this.#within(0, next);
  }
}
