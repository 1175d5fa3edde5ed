import { status } from '@grpc/grpc-js';
import type { ErrorCode } from '../runtime/errors.js';

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
