/** Milliseconds by what was measured. */
export class Samples {
  private readonly values = new Map<string, number[]>();

  async time<T>(name: string, work: () => Promise<T>): Promise<T> {
    const start = performance.now();
    const result = await work();
    this.add(name, performance.now() - start);
    return result;
  }

  add(name: string, value: number): void {
    const list = this.values.get(name);
    if (list === undefined) this.values.set(name, [value]);
    else list.push(value);
  }

  names(): readonly string[] {
    return [...this.values.keys()];
  }

  quantile(name: string, fraction: number): number | undefined {
    const sorted = [...(this.values.get(name) ?? [])].sort((left, right) => left - right);
    return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * fraction))];
  }
}
