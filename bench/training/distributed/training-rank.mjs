/**
 * A rank that trains on random tokens on command; training.ts starts it. It runs from dist/, as the installed program
 * does, so that it needs as much memory as a training.
 *
 *     training-rank.mjs SOCKET SHAPE [path=value ...]
 *
 * The command {"run": 2} trains 2 steps and is answered with their times, losses and transfers.
 */
import { linkBytes, serve } from './control.mjs'

const dist = (path) => import(new URL(`../../../dist/${path}`, import.meta.url))
const { loadConfig } = await dist('node/run/load-config.js')
const { separatorOf } = await dist('train/data/first-visible.js')
const { openRuntime } = await dist('node/run/session.js')
const { engineOf } = await dist('engine/contract/engine.js')
const { ordersMemory } = await dist('engine/world/mpi/orders.js')
const { initialize, initialScales } = await dist('train/step/store/initialize.js')
const { randomFor } = await dist('core/random.js')
const { createStore, layoutOf, Trainer } = await dist('train/step/trainer.js')
const { forRanks, groupOf, localPlace } = await dist('node/train/layout.js')
const { joinRanks } = await dist('node/train/ranks.js')

const [socket, shape, ...sets] = process.argv.slice(2)
const ranks = await joinRanks(process.env, { deadline: 120 })
// The learning rate is full from the first step, so that the balancing loss acts as in the middle of a training.
const schedule = ['train.schedule.kind=constant', 'train.schedule.warmup=0']
const config = forRanks(await loadConfig(shape, [...sets, ...schedule]), ranks, false)
const { model, train } = config
const runtime = await openRuntime(config, false, groupOf(config, ranks), { place: localPlace(ranks) })
const store = createStore(runtime, config, layoutOf(config, ranks))
const separator = separatorOf(config.data, { endOfText: 0 })
const trainer = await Trainer.compile(runtime, config, store, separator, ranks)
await initialize(store, train.seed, initialScales(config))

const random = randomFor(train.seed, 'benchmark')
const draw = () => Int32Array.from({ length: train.batch * model.sequence }, () => random.integer(model.vocabulary))
const batch = { tokens: draw(), targets: draw() }

const orders = () => (ranks ? ordersMemory(ranks.orders).nextTicket[0] : 0)
const traffic = () => ranks?.traffic() ?? []

let step = 0
async function run(count) {
  // The first step does not count: parameters of a step travel during the next step, and the first finds them there.
  const all = count + 1
  const before = { orders: orders(), traffic: traffic(), link: linkBytes() }
  const steps = []
  await ranks?.allGather(Float64Array.of(0))
  for (let i = 0; i < all; i++) {
    const begin = performance.now()
    const { loss, gradNorm, layers, gradientMs, updateMs } = await trainer.step(++step, batch)
    const ms = performance.now() - begin
    const sum = (counts) => counts.reduce((a, b) => a + b, 0)
    const tokens = sum(layers.map((layer) => sum(layer.tokens)))
    const kept = sum(layers.map((layer) => sum(layer.kept)))
    if (i > 0) steps.push({ ms, gradientMs, updateMs, loss, gradNorm, keptShare: tokens > 0 ? kept / tokens : 1 })
  }
  await trainer.settle()
  const link = linkBytes()
  const total = (channels, field) => channels.reduce((all, channel) => all + channel[field], 0)
  const counted = traffic()
  return {
    steps,
    sentBytes: (total(counted, 'sentBytes') - total(before.traffic, 'sentBytes')) / all,
    receivedBytes: (total(counted, 'receivedBytes') - total(before.traffic, 'receivedBytes')) / all,
    linkBytes: (link.sent + link.received - before.link.sent - before.link.received) / all,
    orders: (orders() - before.orders) / all,
    stateBytes: trainer.stateBytes,
    programBytes: trainer.programBytes,
    peakBytes: process.resourceUsage().maxRSS * 1024,
  }
}

const hello = { rank: ranks?.rank ?? 0, library: ranks?.library ?? '', ...engineOf(runtime) }
await serve(socket, hello, ({ run: count }) => run(count))
await trainer.release()
await runtime.close()
await ranks?.close()
