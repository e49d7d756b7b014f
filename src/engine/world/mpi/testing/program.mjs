/**
 * The program of each rank in ranks.test.ts: `program.mjs FOLDER SCENARIO ...`; a rank's result is FOLDER/RANK.json. It
 * runs from dist/, where a process starts in a fifth of the time.
 */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'

const dist = (path) => new URL(`../../../../../dist/engine/world/mpi/${path}`, import.meta.url).href
const { Ranks } = await import(dist('ranks.js'))
const { worldOf } = await import(dist('world.js'))

const [folder = '', scenario = '', ...args] = process.argv.slice(2)
const world = worldOf(process.env)
if (!world) throw new Error('no world')
const { rank, size } = world

const write = (result) => writeFileSync(join(folder, `${rank}.json`), JSON.stringify(result))
const start = (deadlineSeconds = 20) => Ranks.start({ world, deadlineSeconds })
const others = Array.from({ length: size }, (_, peer) => peer).filter((peer) => peer !== rank)

/** The text of the error with which a call rejects, as it should. */
async function errorOf(promise) {
  try {
    await promise
  } catch (error) {
    return error instanceof Error ? `${error.name}: ${error.message}` : String(error)
  }
  return 'no error'
}

/** Blocks the thread, as a program in an endless loop does. */
const hang = () => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0)

/** xorshift32: the same numbers on all ranks. */
function random(seed) {
  let state = (seed ^ 0x9e3779b9) | 1
  return () => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return (state >>> 0) / 2 ** 32
  }
}

const sizes = [0, 0, 1, 3, 4, 8, 100, 4096, 70_001, 300_000]

function bytesOf(seed, round, from, to) {
  const draw = random(Math.imul(seed + 1, 7919) + Math.imul(round, 1009) + from * 31 + to)
  const bytes = new Uint8Array(sizes[Math.floor(draw() * sizes.length)])
  for (let i = 0; i < bytes.length; i++) bytes[i] = draw() * 256
  return bytes
}

/** Rounds of messages between all pairs, in several channels at once; returns compared bytes and differences. */
async function exchangeRandomly(ranks, seed) {
  const rounds = Array.from({ length: 12 }, async (_, round) => {
    const expected = others.map((peer) => bytesOf(seed, round, peer, rank))
    const received = expected.map((bytes) => new Uint8Array(bytes.length))
    const transfers = others.flatMap((peer, i) => [
      { peer, direction: 'send', array: bytesOf(seed, round, rank, peer) },
      { peer, direction: 'receive', array: received[i] },
    ])
    await ranks.exchange(round % 5, round % 2 === 0 ? transfers : transfers.toReversed())
    const wrong = expected.filter((bytes, i) => Buffer.compare(bytes, received[i]) !== 0).length
    return { bytes: expected.reduce((sum, { length }) => sum + length, 0), wrong }
  })
  const results = await Promise.all(rounds)
  return {
    bytes: results.reduce((sum, { bytes }) => sum + bytes, 0),
    wrong: results.reduce((sum, { wrong }) => sum + wrong, 0),
  }
}

/** The code of a thread that many times adds up the numbers that all ranks send it. */
const threadCode = `
const { workerData, parentPort } = require('node:worker_threads')
const { ring, koffi, orders, channel, rank, size } = workerData
Promise.all([import(ring), import(koffi)]).then(([{ OrderRing }, { default: { address } }]) => {
  const orderRing = new OrderRing(orders)
  const own = new Float64Array(1), all = new Float64Array(size)
  let sum = 0
  for (let i = 0; i < 200; i++) {
    own[0] = i * 1000 + rank
    const transfers = []
    for (let peer = 0; peer < size; peer++) if (peer !== rank) transfers.push(
      { peer, direction: 'send', address: Number(address(own)), bytes: 8 },
      { peer, direction: 'receive', address: Number(address(all)) + 8 * peer, bytes: 8 })
    orderRing.wait(orderRing.post(channel, transfers))
    all[rank] = own[0]
    sum += all.reduce((a, b) => a + b)
  }
  parentPort.postMessage(sum)
})`

function runThread(ranks, channel) {
  const workerData = {
    ring: dist('ring.js'),
    koffi: import.meta.resolve('koffi'),
    orders: ranks.orders,
    channel,
    rank,
    size,
  }
  const worker = new Worker(threadCode, { eval: true, workerData, execArgv: [] })
  return new Promise((resolve, reject) => {
    worker.on('message', resolve)
    worker.on('error', reject)
  })
}

const hex = (values) => Array.from(new BigUint64Array(values.buffer), (bits) => bits.toString(16))

const scenarios = {
  /** Argument: the seed. */
  async messages() {
    const ranks = await start()
    const exchange = await exchangeRandomly(ranks, Number(args[0]))
    const { library, roster } = ranks
    const values = Float64Array.of(rank, -0, Number.NaN, 1 / 3, -rank / 7)
    new BigUint64Array(values.buffer)[2] = 0x7ff8_0000_0000_1234n + BigInt(rank)
    const [all, texts, empty] = await Promise.all([
      ranks.allGather(values),
      ranks.gatherText('é𝄞\ufeff'.repeat(rank * 50_000) + rank),
      ranks.allGather(new Float64Array(0)),
      ranks.barrier(),
    ])
    const noTexts = await ranks.gatherText('')
    await ranks.close()
    const after = await errorOf(ranks.barrier())
    const gather = { library, roster, pid: process.pid, all: hex(all), texts, noTexts, empty: empty.length, after }
    write({ exchange: { ...exchange, traffic: ranks.traffic() }, gather })
  },

  async threads() {
    const ranks = await start()
    const sums = await Promise.all([runThread(ranks, 11), runThread(ranks, 12), exchangeRandomly(ranks, 1)])
    await ranks.close()
    write(sums)
  },

  /** Writes the error of the start. Argument: whether to disguise the launcher as Slurm. */
  async library() {
    const disguised = { ...world, launcher: args[0] === 'disguised' ? 'Slurm' : world.launcher }
    write(await errorOf(Ranks.start({ world: disguised, deadlineSeconds: 20 })))
    process.exit(2)
  },

  /** Arguments: the number of bytes that rank 0 sends, and the number that rank 1 expects. */
  async mismatch() {
    const ranks = await start(10)
    const [sent = 0, expected = 0] = args.map(Number)
    if (rank === 0) await ranks.exchange(9, [{ peer: 1, direction: 'send', array: new Uint8Array(sent) }])
    if (rank === 1) {
      const error = await errorOf(
        ranks.exchange(9, [{ peer: 0, direction: 'receive', array: new Uint8Array(expected) }]),
      )
      const later = [await errorOf(ranks.barrier()), await errorOf(ranks.exchange(0, []))]
      write({ error, later })
      ranks.abort('rank 1 saw it', 5)
    }
    await ranks.barrier()
  },

  async hang() {
    // On a busy machine, one rank starts seconds after the other.
    const ranks = await start(6)
    write({ roster: ranks.roster })
    if (rank === 1) hang()
    const error = await errorOf(
      ranks.exchange(
        7,
        others.map((peer) => ({ peer, direction: 'receive', array: new Uint8Array(4) })),
      ),
    )
    ranks.abort(error, 6)
  },

  /** Argument: how rank 1 ends, while the others wait for it. */
  async stop() {
    const ranks = await start()
    await ranks.barrier()
    if (rank === 1) {
      await sleep(100)
      if (args[0] === 'abort') ranks.abort('rank 1 gives up', 7)
      if (args[0] === 'throw') throw new Error('rank 1 threw')
      if (args[0] === 'exit') process.exit(0)
      if (args[0] === 'return') return
      if (args[0] === 'kill') process.kill(process.pid, 'SIGKILL')
    }
    await ranks.barrier()
    await ranks.close()
  },

  /** Rank 1 never starts. */
  async absent() {
    if (rank === 1) hang()
    const error = await errorOf(start(2))
    write(error)
    console.error(error)
    process.exit(1)
  },
}

await scenarios[scenario]?.()
