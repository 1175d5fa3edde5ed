/** Bounds on what a registry may make us hold in memory or on disk. */

/** Manifests and indexes. Docker Hub and the distribution spec's reference server use the same bound. */
export const manifestLimitBytes = 4 * 1024 * 1024;
export const configLimitBytes = 8 * 1024 * 1024;
/** Token and error answers. */
export const answerLimitBytes = 1024 * 1024;
/** More layers cannot be stacked by overlayfs. */
export const layerLimit = 500;
/** Entries of an index. */
export const indexEntryLimit = 4096;
/** Redirects followed for one request. */
export const redirectLimit = 10;
