/** Waits for something that another process or the event loop brings about. */
export async function eventually(holds: () => boolean): Promise<void> {
  for (let turn = 0; !holds(); turn++) {
    if (turn > 2000) throw new Error('it never held');
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}
