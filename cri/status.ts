import { status } from '@grpc/grpc-js';
import { type ErrorCode, RuntimeError, codeOf, messageOf } from '../runtime/errors.js';

/** What each class of failure is in gRPC. Nothing else names a gRPC status. */
export const statusByCode: Readonly<Record<ErrorCode, status>> = {
  InvalidArgument: status.INVALID_ARGUMENT,
  NotFound: status.NOT_FOUND,
  AlreadyExists: status.ALREADY_EXISTS,
  FailedPrecondition: status.FAILED_PRECONDITION,
  PermissionDenied: status.PERMISSION_DENIED,
  Unauthenticated: status.UNAUTHENTICATED,
  ResourceExhausted: status.RESOURCE_EXHAUSTED,
  Unavailable: status.UNAVAILABLE,
  DeadlineExceeded: status.DEADLINE_EXCEEDED,
  Cancelled: status.CANCELLED,
  Unimplemented: status.UNIMPLEMENTED,
  Aborted: status.ABORTED,
  DataLoss: status.DATA_LOSS,
  Internal: status.INTERNAL,
};

/**
 * Reasons that the kubelet tells apart (cri-api pkg/errors). It looks for the word at the beginning of the message, where
 * only the status UNKNOWN puts nothing before it: these, and nothing else, go over the wire so.
 */
export const kubeletReasons: ReadonlySet<string> = new Set([
  'RegistryUnavailable',
  'SignatureValidationFailed',
  'RROUnsupported',
  'ImageVolumeMountFailed',
]);

/** How a failure is told to a client. */
export function statusOf(failure: unknown): { readonly code: status; readonly details: string } {
  const details = messageOf(failure);
  const reason = failure instanceof RuntimeError ? failure.reason : undefined;
  if (reason !== undefined && kubeletReasons.has(reason))
    return { code: status.UNKNOWN, details: `${reason}: ${details}` };
  return { code: statusByCode[codeOf(failure)], details };
}
