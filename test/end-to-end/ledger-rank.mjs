/**
 * The program of each rank in ledger.test.ts: `ledger-rank.mjs CONFIG RUN`. It trains, and writes counts of the rank
 * that are independent of the ledger to RUN/rank-N.json: the statistics of its passes and the counters of the courier
 * (the thread that calls MPI). It runs from dist/, where a process starts sooner.
 */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'

const dist = (path) => import(new URL(`../../dist/${path}`, import.meta.url))
const { loadConfig } = await dist('node/run/load-config.js')
const { Ranks } = await dist('engine/world/mpi/ranks.js')
const { worldOf } = await dist('engine/world/mpi/world.js')
const { channels } = await dist('engine/contract/ranks.js')
const { train } = await dist('node/train/train.js')

const [path = '', directory = ''] = process.argv.slice(2)
const world = worldOf(process.env)
if (!world) throw new Error('no world')
const config = await loadConfig(path, [])
const { moe, layers } = config.model
const passes = ((config.parallel.shards ?? 1) / world.size) * config.train.microBatches
/** Numbers before the counts of layers: the loss, and the loss of own layers. */
const losses = 2
/** Number of statistics of a pass: the losses, and of each layer counts and kept assignments by expert, and 5 scalars. */
const statistics = losses + layers * (2 * (moe?.experts ?? 0) + 5)

const ranks = await Ranks.start({ world, deadlineSeconds: 30 })
/** Kept assignments [steps][passes][layers][experts] of this rank. */
const kept = []
const gather = ranks.allGather.bind(ranks)
ranks.allGather = (values) => {
  if (values.length === passes * statistics)
    kept.push(
      Array.from({ length: passes }, (_, pass) =>
        Array.from({ length: layers }, (_, layer) => {
          const experts = moe?.experts ?? 0
          const start = pass * statistics + losses + layer * (2 * experts + 5) + experts
          return [...values.slice(start, start + experts)]
        }),
      ),
    )
  return gather(values)
}
let sentBytes = 0
await train(config, {
  directory,
  ranks,
  onEvent(event) {
    // The counter is read before the evaluation, which exchanges rows too.
    if (event.kind === 'train' && event.step === config.train.steps)
      sentBytes = ranks.traffic().find(({ channel }) => channel === channels.experts)?.sentBytes ?? 0
  },
})
writeFileSync(join(directory, `rank-${world.rank}.json`), JSON.stringify({ kept, sentBytes }))
await ranks.close()
