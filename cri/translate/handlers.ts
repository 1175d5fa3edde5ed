import { quote, refuse } from './check.js';

/** Only the default handler exists: the empty name. @throws InvalidArgument */
export function checkHandler(field: string, handler: string): void {
  if (handler !== '') throw refuse(field, `no handler ${quote(handler)} is configured`);
}
