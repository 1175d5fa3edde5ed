/**
 * A failed system (or library) call, as the addon or the helper reports it.
 *
 * `code` is the symbolic errno ("ENOENT"), `errno` its positive number, `syscall` the call that failed
 * ("mount_setattr"), `path` the object it was tried on where there is one.
 */
export class SystemError extends Error {
  override readonly name = 'SystemError';
  readonly syscall: string;
  readonly errno: number;
  readonly code: string;
  readonly path: string | undefined;

  constructor(fields: { syscall: string; errno: number; code: string; path?: string | undefined }) {
    super(`${fields.syscall}${fields.path === undefined ? '' : ` ${fields.path}`}: ${fields.code}`);
    this.syscall = fields.syscall;
    this.errno = fields.errno;
    this.code = fields.code;
    this.path = fields.path;
  }
}
