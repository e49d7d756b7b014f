/**
 * The courier: the one thread that calls MPI, from its start to its end. It starts orders in the sequence of the ring
 * and polls while any order is open, so data moves while other threads compute. It sleeps between polls, longer while
 * no order is open: a thread that blocks inside MPI would take a core from the other threads.
 * This file runs only as a worker thread, from the build (see ranks.ts).
 */

import { hostname } from 'node:os'
import { parentPort, workerData } from 'node:worker_threads'
import { UsageError } from '../../../core/errors.ts'
import type { RankIdentity } from '../../../core/text/rank-name.ts'
import { addressOf } from '../../native/ffi.ts'
import { Mpi } from './adapter.ts'
import { Inbox } from './inbox.ts'
import type { CourierData, CourierReport } from './messages.ts'
import { COMMAND_ABORT, COMMAND_CLOSE, type Order, ROSTER_CHANNEL, type Transfer } from './orders.ts'
import { Progress } from './progress.ts'
import { CARD_BYTES, readCard, writeCard } from './roster.ts'
import { TrafficRecorder } from './traffic.ts'

/** Sleep between polls. Linux adds about 0.05 ms. */
const POLL_MS = 0.1
/** Time of polling without sleep after an order was started or has ended: short messages end within it. */
const SPIN_MS = 0.05
/** Sleep between answers to other ranks while no order is open. */
const IDLE_MS = 200

const { world, library, orders, traffic, deadlineSeconds } = workerData as CourierData
const inbox = new Inbox(orders)
const mpi = new Mpi(library)
const { rank, size } = world
const progress = new Progress({ mpi, rank, size, deadlineSeconds, traffic: new TrafficRecorder(traffic) })

/** Whether this rank has joined the world. */
let joined = false

function report(message: CourierReport): void {
  parentPort?.postMessage(message)
}

function begin(): void {
  mpi.init()
  const version = mpi.version()
  if (mpi.size() !== size || mpi.rank() !== rank) {
    const slurm = world.launcher === 'Slurm'
    throw new UsageError(
      `${slurm ? 'srun' : `the mpirun of ${world.launcher}`} started rank ${rank} of ${size}, but ${version} ` +
        `(${library.path}) finds rank ${mpi.rank()} of ${mpi.size()}: set CHOIR_MPI to the libmpi that belongs to the ` +
        `launcher, or ${slurm ? 'try srun --mpi=pmix or --mpi=pmi2' : 'use the mpirun of that library'}`,
    )
  }
  joined = true
  progress.roster = exchangeCards()
  report({ kind: 'ready', library: version, roster: progress.roster })
}

function exchangeCards(): RankIdentity[] {
  const cards = Array.from({ length: size }, () => new Uint8Array(CARD_BYTES))
  const own = cards[rank] as Uint8Array
  writeCard(own, { host: hostname(), pid: process.pid })
  const transfers = cards.flatMap((card, peer): Transfer[] => {
    if (peer === rank) return []
    return [
      { peer, direction: 'send', address: Number(addressOf(own)), bytes: CARD_BYTES },
      { peer, direction: 'receive', address: Number(addressOf(card)), bytes: CARD_BYTES },
    ]
  })
  progress.start({ ticket: -1, channel: ROSTER_CHANNEL, reports: false, transfers })
  while (!progress.idle) {
    const bell = inbox.bell()
    if (inbox.command() === COMMAND_ABORT) mpi.abort(inbox.exitCode())
    progress.poll()
    inbox.sleep(bell, POLL_MS)
  }
  return cards.map(readCard)
}

/** Carries out orders; returns when the ranks are closed. */
function serve(): void {
  let busyUntil = 0
  for (;;) {
    const bell = inbox.bell()
    const command = inbox.command()
    if (command === COMMAND_ABORT) mpi.abort(inbox.exitCode())
    let started = false
    for (let order = inbox.take(); order; order = inbox.take()) {
      progress.start(order)
      started = true
    }
    const done = progress.poll()
    for (const order of done) finish(order)
    if (progress.idle) {
      if (command === COMMAND_CLOSE) return
      inbox.sleep(bell, IDLE_MS)
      continue
    }
    const now = performance.now()
    if (started || done.length > 0) busyUntil = now + SPIN_MS
    if (now > busyUntil) inbox.sleep(bell, POLL_MS)
  }
}

function finish({ ticket, reports }: Order): void {
  inbox.finish(ticket)
  if (reports) report({ kind: 'done', ticket })
}

/** MPI may still write to memory of open orders, so nothing is finalized: the process can only abort. */
function fail(error: unknown): void {
  const message = error instanceof Error ? error.message : String(error)
  inbox.fail(message)
  report({ kind: 'failed', usage: error instanceof UsageError, joined, message })
  for (;;) {
    const bell = inbox.bell()
    if (inbox.command() === COMMAND_ABORT) mpi.abort(inbox.exitCode())
    // Without an answer, other ranks would take this rank for the one that hangs.
    if (joined) progress.reply()
    inbox.sleep(bell, IDLE_MS)
  }
}

try {
  begin()
  serve()
  mpi.finalize()
  report({ kind: 'closed' })
} catch (error) {
  fail(error)
}
