/** How long each stage of one operation took, in milliseconds. */
export class StageTimer {
  private last = performance.now();
  private readonly durations: Record<string, number> = {};

  /** Ends the stage that runs now under this name. */
  mark(stage: string): void {
    const now = performance.now();
    this.durations[stage] = Math.round((now - this.last) * 1000) / 1000;
    this.last = now;
  }

  get stages(): Readonly<Record<string, number>> {
    return { ...this.durations };
  }
}
