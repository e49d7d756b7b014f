/** Index of the snapshot nearest to a step; the last snapshot for null, -1 if there are no snapshots. */
export function snapshotAt(steps: readonly number[], step: number | null): number {
  if (step === null || steps.length === 0) return steps.length - 1
  let low = 0
  let high = steps.length - 1
  while (low < high) {
    const middle = (low + high) >> 1
    if ((steps[middle] as number) < step) low = middle + 1
    else high = middle
  }
  const [before, after] = [steps[low - 1], steps[low] as number]
  return before !== undefined && step - before < after - step ? low - 1 : low
}
