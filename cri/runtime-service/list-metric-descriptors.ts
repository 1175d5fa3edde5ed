import { unimplemented } from '../unimplemented.js';

export const listMetricDescriptors = unimplemented('pod metrics');
