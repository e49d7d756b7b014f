/**
 * Growth of memory over rounds of the same work: the least of three rounds, in MiB.
 *
 * A leak grows in every round. Machine code, the heap of V8 and the pools of an allocator reach their size at times of
 * their own, in a round or two. So the least growth tells a leak from these. It is measured until a round grows by less
 * than `allowed`.
 *
 * @param round The work, repeated often enough that a leak of it exceeds `allowed`
 * @param allowed MiB of growth that are no leak
 */
export async function leastGrowth(round: () => void | Promise<void>, allowed: number): Promise<number> {
  let least = Number.POSITIVE_INFINITY
  for (let i = 0; i < 3 && least >= allowed; i++) {
    const before = process.memoryUsage.rss()
    await round()
    least = Math.min(least, (process.memoryUsage.rss() - before) / 2 ** 20)
  }
  return least
}
