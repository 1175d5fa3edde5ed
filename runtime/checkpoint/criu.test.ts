import { expect } from 'chai';
import { closeFd, seqpacketOpen, seqpacketPair } from '../../native/index.js';
import { criuReq, criuReqType, criuResp } from '../../protos/gen/criu/rpc.js';
import { RuntimeError } from '../errors.js';
import { CriuProgram, connectCriu, noOptions, startCriu } from './criu.js';

describe('CRIU', () => {
  it('is asked for by version where there is none', async () => {
    const error = await failure(new CriuProgram('/nonexistent/criu').get());
    expect(error).to.include({ code: 'FailedPrecondition' });
    expect(error.message).to.match(/CRIU 3\.0 or newer is needed.*no program "\/nonexistent\/criu"/);
  });

  it('that ends instead of answering is an error, not a hang', async () => {
    const criu = startCriu('/bin/true');
    expect((await failure(criu.request(criuReqType.VERSION, undefined))).message).to.contain('ended without');
    await criu.close();
  });

  it('that is closed by us fails what is under way', async () => {
    const criu = startCriu('/bin/cat');
    const failed = failure(criu.request(criuReqType.VERSION, undefined));
    await criu.close();
    expect((await failed).message).to.contain('ended without');
  });

  it('is told that a step was refused, and its end awaited', async () => {
    const [ours, theirs] = seqpacketPair();
    const answers: (boolean | undefined)[] = [];
    const peer = seqpacketOpen(theirs, {
      onPacket: ({ data, fds }) => {
        fds.forEach(closeFd);
        const { type, notifySuccess } = criuReq.decode(data);
        if (type === criuReqType.NOTIFY) answers.push(notifySuccess);
        const script = ['pre-dump', 'network-lock'][answers.length];
        const answer: criuResp =
          script === undefined
            ? { type: criuReqType.DUMP, success: false }
            : { type: criuReqType.NOTIFY, success: true, notify: { script, pid: 7 } };
        peer.send(criuResp.encode(answer).finish());
      },
      onClose: () => undefined,
    });
    const criu = connectCriu(ours, () => Promise.resolve());
    const seen: string[] = [];
    const error = await failure(
      criu.request(criuReqType.DUMP, noOptions, (script, pid) => {
        seen.push(`${script} ${pid}`);
        throw new Error('not wanted any more');
      }),
    );
    await criu.close();
    peer.close();
    expect(error.message).to.equal('not wanted any more');
    expect(seen[0]).to.equal('pre-dump 7');
    expect(answers).to.deep.equal([false, false]);
  });
});

async function failure(call: Promise<unknown>): Promise<Error> {
  const error: unknown = await call.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (error instanceof RuntimeError || error instanceof Error) return error;
  throw new Error('it did not fail');
}
