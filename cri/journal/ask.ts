import { Client, Metadata, type ServiceError, credentials, status } from '@grpc/grpc-js';
import { explainService } from './service.js';
import type { Explanation } from './why.js';

const timeoutMs = 10_000;

/** Asks the daemon at a socket. @throws Error with the daemon's sentence, or saying that none answers */
export function askWhy(socket: string, object: string): Promise<Explanation> {
  const client = new Client(`unix:${socket}`, credentials.createInsecure(), {
    'grpc.max_receive_message_length': -1,
  });
  const { path, requestSerialize, responseDeserialize } = explainService.why;
  return new Promise<Explanation>((resolve, reject) => {
    client.makeUnaryRequest(
      path,
      requestSerialize,
      responseDeserialize,
      { object },
      new Metadata(),
      { deadline: Date.now() + timeoutMs },
      (error, explanation) => {
        if (error === null && explanation !== undefined) resolve(explanation);
        else reject(failureOf(socket, error));
      },
    );
  }).finally(() => client.close());
}

function failureOf(socket: string, error: ServiceError | null): Error {
  const details = error?.details ?? 'no answer';
  return new Error(error?.code === status.UNAVAILABLE ? `ask the daemon at ${socket}: ${details}` : details);
}
