import type { ImageFsInfoRequest, ImageFsInfoResponse } from '../../protos/gen/cri/runtime/v1/api.js';
import { nowNs } from '../../runtime/base/clock.js';
import type { Call } from '../rpc.js';
import { toCriImageUsage } from '../translate/image-answer.js';

/** Images and writable layers lie on one file system, the daemon's root. */
export async function imageFsInfo(
  _request: ImageFsInfoRequest,
  { runtime }: Call,
): Promise<ImageFsInfoResponse> {
  const usage = toCriImageUsage(await runtime.images.usage(), nowNs());
  return { imageFilesystems: [usage], containerFilesystems: [usage] };
}
