/** The `v1.Status` that ends a session of remotecommand v4 and v5, and the text of earlier versions. */

export function exitStatus(code: number): string {
  if (code === 0) return JSON.stringify({ metadata: {}, status: 'Success' });
  return JSON.stringify({
    metadata: {},
    status: 'Failure',
    message: exitText(code),
    reason: 'NonZeroExitCode',
    details: { causes: [{ reason: 'ExitCode', message: String(code) }] },
  });
}

/** Empty for success. */
export function exitText(code: number): string {
  return code === 0 ? '' : `command terminated with non-zero exit code: exit status ${code}`;
}

export function errorStatus(message: string): string {
  return JSON.stringify({
    metadata: {},
    status: 'Failure',
    message: `Internal error occurred: ${message}`,
    reason: 'InternalError',
    details: { causes: [{ message }] },
    code: 500,
  });
}
