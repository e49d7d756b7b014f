/**
 * Measures communication between ranks through the courier, for this machine and its MPI:
 *
 *   npm run build
 *   mpirun -n 2 node --import tsx bench/ranks.ts
 *   mpirun.mpich -n 2 node --import tsx bench/ranks.ts
 *
 * Each rank exchanges with all others at once. Rates are of one direction, at one rank.
 */
import { type ArrayTransfer, Ranks } from '../src/runtime/mpi/ranks.ts'
import { worldOf } from '../src/runtime/mpi/world.ts'

const world = worldOf(process.env)
if (!world) throw new Error('start it with mpirun -n 2')
const { rank, size } = world
const others = Array.from({ length: size }, (_, peer) => peer).filter((peer) => peer !== rank)
const ranks = await Ranks.start({ world, deadlineSeconds: 60 })

/** Milliseconds of one call: median and fastest. */
async function time(calls: number, call: () => Promise<unknown>): Promise<{ median: number; fastest: number }> {
  await ranks.barrier()
  for (let i = 0; i < calls / 10; i++) await call()
  const times: number[] = []
  for (let i = 0; i < calls; i++) {
    const begin = performance.now()
    await call()
    times.push(performance.now() - begin)
  }
  times.sort((a, b) => a - b)
  return { median: times[calls >> 1] as number, fastest: times[0] as number }
}

const lines = [`${ranks.library}, ${size} ranks`]
const value = Float64Array.of(1)
const { median, fastest } = await time(2000, () => ranks.allGather(value))
lines.push(`all-gather of 8 bytes: ${(median * 1000).toFixed(0)} µs (fastest ${(fastest * 1000).toFixed(0)})`)
for (const megabytes of [0.0625, 1, 16, 64]) {
  const bytes = megabytes * 2 ** 20
  const array = () => new Uint8Array(new SharedArrayBuffer(bytes)).fill(rank + 1)
  const transfers = others.flatMap((peer): ArrayTransfer[] => [
    { peer, direction: 'send', array: array() },
    { peer, direction: 'receive', array: array() },
  ])
  const { median, fastest } = await time(megabytes > 8 ? 20 : 200, () => ranks.exchange(1, transfers))
  const rate = (bytes * others.length) / 1e6 / median
  lines.push(
    `${megabytes} MB both ways: ${median.toFixed(2)} ms (fastest ${fastest.toFixed(2)}), ${rate.toFixed(1)} GB/s`,
  )
}
await ranks.close()
if (rank === 0) console.info(lines.join('\n'))
