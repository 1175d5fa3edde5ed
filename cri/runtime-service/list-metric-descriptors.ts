import { encodedDescriptors } from '../pod-metrics/families.js';

export function listMetricDescriptors(): Buffer {
  return encodedDescriptors();
}
