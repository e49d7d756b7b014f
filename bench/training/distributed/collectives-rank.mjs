/**
 * A rank that transfers on command, with the transfers of a training; collectives.ts starts it.
 *
 *     collectives-rank.mjs SOCKET courier|mpi
 *
 * `courier` transfers as a training does: the courier, a thread of its own, calls MPI. `mpi` calls MPI on the main
 * thread and polls without a pause, which is as fast as MPI can be from JavaScript; it is for rows only.
 * The command {"kind": "rows", "bytes": 1048576, "calls": 20} is answered with the milliseconds of each call.
 */
import { linkBytes, serve } from './control.mjs'

const dist = (path) => import(new URL(`../../../dist/${path}`, import.meta.url))
const { addressOf } = await dist('engine/native/ffi.js')
const { channels } = await dist('engine/contract/ranks.js')
const { Mpi } = await dist('engine/world/mpi/adapter.js')
const { findMpi } = await dist('engine/world/mpi/library.js')
const { Ranks } = await dist('engine/world/mpi/ranks.js')
const { worldOf } = await dist('engine/world/mpi/world.js')

const [socket, how] = process.argv.slice(2)
const world = worldOf(process.env)
const { rank, size } = world
const others = Array.from({ length: size }, (_, peer) => peer).filter((peer) => peer !== rank)

function rawMpi() {
  const mpi = new Mpi(findMpi(world.launcher))
  mpi.init()
  const exchange = (channel, transfers) => {
    const open = transfers.map(({ peer, direction, array }) => {
      const call = direction === 'send' ? mpi.isend : mpi.irecv
      return call.call(mpi, Number(addressOf(array)), array.byteLength, peer, channel)
    })
    while (open.length > 0) if (mpi.test(open[0])) open.shift()
  }
  return { exchange, library: mpi.version(), close: () => mpi.finalize() }
}

const ranks = how === 'mpi' ? rawMpi() : await Ranks.start({ world, deadlineSeconds: 120 })

/** Size of a chunk of gradients, as in src/train/step/ranks/gradient-sum.ts. */
const CHUNK_BYTES = 16 * 2 ** 20
const SLOTS = 2

const memory = new Map()
/** Memory that stays the same from call to call. */
function array(name, bytes) {
  const key = `${name}, ${bytes}`
  if (!memory.has(key)) memory.set(key, new Uint8Array(new SharedArrayBuffer(bytes)).fill(rank + 1))
  return memory.get(key)
}

const pair = (peer, sent, received) => [
  { peer, direction: 'send', array: sent },
  { peer, direction: 'receive', array: received },
]

/** The call of each kind. It sends `bytes` in total to other ranks, and receives as many. */
const calls = {
  /** Rows of experts: every rank is sent different rows. */
  rows: (bytes) => {
    const each = bytes / others.length
    const of = (name, peer) => array(`${name} ${peer}`, each)
    return ranks.exchange(
      channels.experts,
      others.flatMap((peer) => pair(peer, of('sent', peer), of('received', peer))),
    )
  },
  /** Gradients are sent to their owners, a chunk at a time. */
  gradients: async (bytes) => {
    const each = bytes / others.length
    const chunk = Math.min(each, CHUNK_BYTES / others.length)
    const sent = others.flatMap((peer) =>
      Array.from({ length: each / chunk }, (_, i) =>
        ranks.exchange(channels.gradients, [
          { peer, direction: 'send', array: array(`sent ${peer}`, each).subarray(i * chunk, (i + 1) * chunk) },
        ]),
      ),
    )
    const slots = Array.from({ length: SLOTS }, () => Promise.resolve())
    for (let i = 0; i < each / chunk; i++) {
      await slots[i % SLOTS]
      slots[i % SLOTS] = ranks.exchange(
        channels.gradients,
        others.map((peer) => ({ peer, direction: 'receive', array: array(`slot ${i % SLOTS} ${peer}`, chunk) })),
      )
    }
    await Promise.all([...sent, ...slots])
  },
  /** Parameters are sent by their owners, the same ones to every rank. */
  parameters: (bytes) => {
    const each = bytes / others.length
    return ranks.exchange(
      channels.parameters,
      others.flatMap((peer) => pair(peer, array('own', each), array(`received ${peer}`, each))),
    )
  },
}

async function measure({ kind, bytes, calls: count }) {
  const call = () => calls[kind](bytes)
  for (let i = 0; i < Math.max(1, count / 10); i++) await call()
  await calls.rows(8 * others.length)
  const before = linkBytes()
  const times = []
  for (let i = 0; i < count; i++) {
    const begin = performance.now()
    await call()
    times.push(performance.now() - begin)
  }
  const after = linkBytes()
  return { times, linkBytes: (after.sent + after.received - before.sent - before.received) / count }
}

await serve(socket, { rank, library: ranks.library }, measure)
await ranks.close()
