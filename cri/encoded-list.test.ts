import { expect } from 'chai';
import {
  Container as CriContainer,
  Image,
  ListContainersResponse,
  ListImagesResponse,
  ListPodSandboxResponse,
  PodSandbox,
} from '../protos/gen/cri/runtime/v1/api.js';
import { listEncoder } from './encoded-list.js';

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
        const encode = listEncoder(({ id }: { readonly id: string }) => {
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
