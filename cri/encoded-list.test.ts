import { expect } from 'chai';
import {
  Container as CriContainer,
  Image,
  ListContainersResponse,
  ListImagesResponse,
  ListPodSandboxResponse,
  PodSandbox,
} from '../protos/gen/cri/runtime/v1/api.js';
import { inBatches, listEncoder } from './encoded-list.js';

interface MessageFns {
  fromPartial(value: object): object;
  encode(value: object): { finish(): Uint8Array };
}

describe('a list of bytes', () => {
  it('reads as the message it stands for, and encodes each value once', () => {
    let encoded = 0;
    for (const [encodeList, encodeItem] of [
      [(items: CriContainer[]) => ListContainersResponse.encode({ containers: items }), CriContainer],
      [(items: PodSandbox[]) => ListPodSandboxResponse.encode({ items }), PodSandbox],
      [(items: Image[]) => ListImagesResponse.encode({ images: items }), Image],
    ] as [(items: object[]) => { finish(): Uint8Array }, MessageFns][]) {
      for (const length of [0, 1, 127, 128, 16_383, 16_384, 2_200_000]) {
        const values = [{ id: 'a'.repeat(length) }, { id: 'b'.repeat(length) }];
        const { whole: encode } = listEncoder(({ id }: { readonly id: string }) => {
          encoded++;
          return encodeItem.encode(encodeItem.fromPartial({ id })).finish();
        });
        const expected = encodeList(values.map((value) => encodeItem.fromPartial(value))).finish();
        expect(encode(values).equals(expected), `${length}`).to.equal(true);
        encode([...values].reverse());
      }
    }
    expect(encoded).to.equal(3 * 7 * 2);
  });
});

describe('a whole list', () => {
  it('is put together again when something in it has changed', () => {
    const list = listEncoder(({ id }: { readonly id: string }) =>
      CriContainer.encode(CriContainer.fromPartial({ id })).finish(),
    );
    const idsOf = (bytes: Buffer): string[] =>
      ListContainersResponse.decode(bytes).containers.map(({ id }) => id);
    const [a, b, c] = [{ id: 'a' }, { id: 'b' }, { id: 'c' }];
    const values = [a, b];
    const first = list.whole(values);
    expect(list.whole([a, b])).to.equal(first);
    values.push(c);
    for (const changed of [values, [b, a], [a], [], [a, c], [a, { id: 'b2' }]]) {
      expect(idsOf(list.whole(changed))).to.deep.equal(changed.map(({ id }) => id));
    }
  });
});

describe('a list in several messages', () => {
  const list = listEncoder(({ id }: { readonly id: string }) =>
    CriContainer.encode(CriContainer.fromPartial({ id })).finish(),
  );
  const never = new AbortController().signal;
  const named = (count: number, length: number): { readonly id: string }[] =>
    Array.from({ length: count }, (_, index) => ({ id: String(index).padEnd(length, '.') }));
  const collect = async (chunks: AsyncIterable<Buffer>): Promise<Buffer[]> => {
    const all: Buffer[] = [];
    for await (const chunk of chunks) all.push(chunk);
    return all;
  };
  const idsOf = (chunks: readonly Buffer[]): string[] =>
    chunks.flatMap((chunk) => ListContainersResponse.decode(chunk).containers.map(({ id }) => id));

  it('has what the whole has, in messages far below the limits of clients', async () => {
    for (const [count, length] of [
      [0, 10],
      [1, 10],
      [1000, 500],
      [3, 100_000],
      [130, 500],
    ] as const) {
      const values = named(count, length);
      const chunks = await collect(list.chunks(values, never));
      expect(idsOf(chunks)).to.deep.equal(values.map(({ id }) => id));
      for (const chunk of chunks) expect(chunk.length).to.be.within(1, Math.max(65_536, length + 16));
      expect(chunks.length).to.be.at.most(count);
    }
  });

  it('ends where its client leaves', async () => {
    const abort = new AbortController();
    const chunks = list.chunks(named(1000, 500), abort.signal);
    expect((await chunks.next()).done).to.equal(false);
    abort.abort(new Error('gone'));
    const error: unknown = await chunks.next().then(
      () => undefined,
      (reason: unknown) => reason,
    );
    expect(error).to.have.property('message', 'gone');
    expect((await chunks.next()).done).to.equal(true);
  });

  it('reads a batch of sources only when the one before has gone out', async () => {
    const read: number[] = [];
    const rules = {
      size: 10,
      read: async (batch: readonly { readonly id: string }[]) => {
        read.push(batch.length);
        return batch;
      },
      list,
      signal: never,
    };
    const chunks = inBatches(named(25, 10), rules);
    const first = await chunks.next();
    expect(read).to.deep.equal([10]);
    const rest = await collect(chunks);
    expect(read).to.deep.equal([10, 10, 5]);
    expect(idsOf([first.value as Buffer, ...rest])).to.have.lengthOf(25);
  });
});
