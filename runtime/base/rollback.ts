/**
 * Undo steps of a creation in progress, run backwards if it fails.
 *
 * Whatever was acquired is registered the moment it exists; `commit` forgets everything. The first error of the
 * operation itself is the one that counts: failures of undo steps are only handed to `onError`.
 */
export class Rollback {
  private steps: { readonly name: string; readonly undo: () => void | Promise<void> }[] = [];

  add(name: string, undo: () => void | Promise<void>): void {
    this.steps.push({ name, undo });
  }

  commit(): void {
    this.steps = [];
  }

  async run(onError: (step: string, error: unknown) => void): Promise<void> {
    for (;;) {
      const step = this.steps.pop();
      if (step === undefined) return;
      try {
        await step.undo();
      } catch (error) {
        onError(step.name, error);
      }
    }
  }
}
