/** The snapshot nearest to a step; the last one for null, -1 when there is none. */
export function snapshotAt(steps: readonly number[], wanted: number | null): number {
  if (wanted === null || steps.length === 0) return steps.length - 1
  let low = 0
  let high = steps.length - 1
  while (low < high) {
    const middle = (low + high) >> 1
    if ((steps[middle] as number) < wanted) low = middle + 1
    else high = middle
  }
  const [before, after] = [steps[low - 1], steps[low] as number]
  return before !== undefined && wanted - before < after - wanted ? low - 1 : low
}
