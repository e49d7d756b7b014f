/**
 * The ranks of a world, as the main thread sees them: exchanges and small collectives are promises, while a separate
 * thread, the courier, calls MPI. Other threads post to the same ring ({@link Ranks.orders}, ring.ts).
 *
 * Every rank calls the same collectives in the same sequence. A rank that stops in any way but {@link Ranks.close}
 * ends all ranks with an exit code that is not 0, because the others would wait for it forever, and because some
 * launchers report success for a rank that left early with 0.
 */
import { writeSync } from 'node:fs'
import { hostname } from 'node:os'
import { isMainThread, Worker } from 'node:worker_threads'
import { UsageError } from '../../../core/errors.ts'
import { packageFile } from '../../../core/package-file.ts'
import { type RankIdentity, rankName } from '../../../core/text/rank-name.ts'
import { NOT_POSTED } from '../../contract/runtime.ts'
import { RuntimeError } from '../../contract/runtime-error.ts'
import { addressOf } from '../../native/ffi.ts'
import { findMpi } from './library.ts'
import type { CourierData, CourierReport } from './messages.ts'
import { COLLECTIVE_CHANNEL, createOrders, MAX_CHANNEL, type Transfer } from './orders.ts'
import { OrderRing } from './ring.ts'
import { type ChannelTraffic, createTraffic, readTraffic } from './traffic.ts'
import type { World } from './world.ts'

/** The default deadline, long enough for a rank that writes a checkpoint while the others wait. */
const DEFAULT_DEADLINE_SECONDS = 600
/**
 * Time for the launcher to forward a last message: when a rank aborts, MPICH's launcher drops text that it has not
 * read.
 */
const FORWARD_MS = 200
/** Time that MPI has to end this process before we end it. */
const ABORT_GRACE_MS = 3000

export interface RanksOptions {
  readonly world: World
  /** Path or name of the library for the system's loader; default: `CHOIR_MPI`, or the library of the launcher. */
  readonly library?: string | undefined
  /** Number of seconds that an order may be open, and that the start may take. */
  readonly deadlineSeconds?: number | undefined
  /**
   * Is called if this rank ends in any other way than {@link Ranks.close} and {@link Ranks.abort}, before all ranks are
   * ended.
   */
  readonly onEarlyExit?: (reason: string) => void
}

/** A transfer from or to memory of this thread. */
export interface ArrayTransfer {
  readonly peer: number
  readonly direction: 'send' | 'receive'
  /** The array, in ordinary or shared memory. A sent array must stay unchanged until the exchange is done. */
  readonly array: NodeJS.ArrayBufferView
}

interface Waiting {
  readonly resolve: () => void
  readonly reject: (error: Error) => void
  /** The transfers, which keep their memory alive while MPI uses it, and after a failure until the process ends. */
  readonly transfers: readonly ArrayTransfer[]
}

export class Ranks {
  readonly rank: number
  readonly size: number
  /** The memory for an `OrderRing` in other threads of this process. */
  readonly orders: SharedArrayBuffer = createOrders()
  private readonly ring = new OrderRing(this.orders)
  private readonly trafficMemory = createTraffic()
  private readonly worker: Worker
  private readonly waiting = new Map<number, Waiting>()
  private started: { readonly library: string; readonly roster: readonly RankIdentity[] } | undefined
  private failure: Error | undefined
  private collective: Promise<unknown> = Promise.resolve()
  private closing: Promise<void> | undefined
  private readonly onExit = (code: number): void => this.exitEarly(code)
  private readonly onUncaught = (error: unknown): void => {
    this.uncaught = error
  }
  private uncaught: unknown
  private readonly onEarlyExit: (reason: string) => void
  private settleStart: ((error?: Error) => void) | undefined
  private settleClose: (() => void) | undefined

  /**
   * Starts the courier. All ranks call it; the promise settles when all have called it. Call it once, on the main
   * thread.
   * @throws UsageError if there is no MPI library, or none that fits the launcher.
   * @throws RuntimeError if the other ranks do not start before the deadline.
   */
  static async start(options: RanksOptions): Promise<Ranks> {
    if (!isMainThread) throw new RuntimeError('internal: ranks are started on the main thread')
    const deadlineSeconds = options.deadlineSeconds ?? DEFAULT_DEADLINE_SECONDS
    if (!(deadlineSeconds > 0))
      throw new UsageError(`invalid deadline: ${deadlineSeconds} (expected a number of seconds above 0)`)
    const ranks = new Ranks(options, deadlineSeconds)
    await ranks.ready(options.world, deadlineSeconds)
    return ranks
  }

  private constructor({ world, library: given, onEarlyExit = () => {} }: RanksOptions, deadlineSeconds: number) {
    this.rank = world.rank
    this.size = world.size
    this.onEarlyExit = onEarlyExit
    const library = findMpi(world.launcher, given)
    const { orders, trafficMemory: traffic } = this
    const workerData: CourierData = { world, library, orders, traffic, deadlineSeconds }
    // The courier does not inherit the options of the process, such as a loader.
    this.worker = new Worker(packageFile('dist/engine/world/mpi/courier.js'), { workerData, execArgv: [] })
    this.worker.on('message', (message: CourierReport) => this.receive(message))
    this.worker.on('error', (error) => this.fail(new RuntimeError(`internal: the courier failed: ${error.message}`)))
    process.on('exit', this.onExit)
    // Node prints an uncaught error after the listeners of `exit`, which is too late here.
    process.on('uncaughtExceptionMonitor', this.onUncaught)
  }

  private async ready({ launcher }: World, deadlineSeconds: number): Promise<void> {
    const late = () =>
      this.fail(
        new RuntimeError(
          `${rankName({ rank: this.rank, host: hostname(), pid: process.pid }, this.size)} has waited ${deadlineSeconds} s for ` +
            `the other ranks that ${launcher} starts: look there for an error or a process that hangs`,
        ),
      )
    const timer = setTimeout(late, deadlineSeconds * 1000)
    try {
      await new Promise<void>((resolve, reject) => {
        this.settleStart = (error) => (error ? reject(error) : resolve())
      })
    } finally {
      clearTimeout(timer)
      this.worker.unref()
    }
  }

  /** Name and version of the library, such as "Open MPI 5.0.7". */
  get library(): string {
    return this.started?.library ?? ''
  }

  /** Host and process of each rank. */
  get roster(): readonly RankIdentity[] {
    return this.started?.roster ?? []
  }

  /**
   * Transfers arrays between ranks: an array that one rank sends in a channel is received by the other in the same
   * channel, with the same number of bytes. Transfers of 0 bytes are skipped.
   * @throws RuntimeError if a peer sends another number of bytes, does not answer in time, or an earlier call failed.
   */
  exchange(channel: number, transfers: readonly ArrayTransfer[]): Promise<void> {
    return this.begin(channel, transfers).done
  }

  /**
   * Begins an exchange like {@link exchange}. Other threads may wait for the ticket, which is -1 if the exchange has
   * failed at once.
   */
  begin(
    channel: number,
    transfers: readonly ArrayTransfer[],
  ): { readonly ticket: number; readonly done: Promise<void> } {
    if (Number.isInteger(channel) && channel >= 0 && channel <= MAX_CHANNEL) return this.transfer(channel, transfers)
    const expected = `an integer from 0 to ${MAX_CHANNEL}`
    const error = new RuntimeError(`internal: invalid channel ${channel} (expected ${expected})`)
    return { ticket: NOT_POSTED, done: Promise.reject(error) }
  }

  /** Settles when an order that another thread has posted, with `reports`, is done. */
  completion(ticket: number): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.failure) throw this.failure
      if (this.ring.isDone(ticket)) resolve()
      else this.expect(ticket, { resolve, reject, transfers: [] })
    })
  }

  private transfer(channel: number, transfers: readonly ArrayTransfer[]) {
    let ticket = NOT_POSTED
    const done = new Promise<void>((resolve, reject) => {
      if (this.failure) throw this.failure
      if (this.closing && channel !== COLLECTIVE_CHANNEL) throw closed()
      const addressed = transfers.map(({ peer, direction, array }): Transfer => {
        if (!(Number.isInteger(peer) && peer >= 0 && peer < this.size))
          throw new RuntimeError(`internal: invalid peer ${peer} (expected a rank from 0 to ${this.size - 1})`)
        return { peer, direction, address: Number(addressOf(array)), bytes: array.byteLength }
      })
      ticket = this.ring.post(channel, addressed, true)
      this.expect(ticket, { resolve, reject, transfers })
    })
    // The caller may await the promise only later. An error is not lost: the next call rejects with the same error.
    done.catch(() => {})
    return { ticket, done }
  }

  private expect(ticket: number, waiting: Waiting): void {
    if (this.waiting.size === 0) this.worker.ref()
    this.waiting.set(ticket, waiting)
  }

  /** The values of all ranks, `[size · n]`, in the sequence of ranks. Each rank gives the same number of values, n. */
  allGather(values: Float64Array): Promise<Float64Array> {
    const n = values.length
    const all = new Float64Array(this.size * n)
    all.set(values, this.rank * n)
    const parts = Array.from({ length: this.size }, (_, rank) => all.subarray(rank * n, (rank + 1) * n))
    return this.inTurn(() => this.gather(parts)).then(() => all)
  }

  /** The texts of all ranks, of any lengths, in the sequence of ranks. */
  gatherText(text: string): Promise<readonly string[]> {
    const own = new TextEncoder().encode(text)
    return this.inTurn(async () => {
      const lengths = Array.from({ length: this.size }, (_, rank) =>
        Float64Array.of(rank === this.rank ? own.length : 0),
      )
      await this.gather(lengths)
      const texts = lengths.map(([length = 0], rank) => (rank === this.rank ? own : new Uint8Array(length)))
      await this.gather(texts)
      return texts.map((bytes) => new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes))
    })
  }

  /** Settles when all ranks have called it. */
  async barrier(): Promise<void> {
    await this.allGather(Float64Array.of(0))
  }

  /** Sends this rank's part to all other ranks and fills in the parts of the others. */
  private gather(parts: readonly NodeJS.ArrayBufferView[]): Promise<void> {
    const own = parts[this.rank] as NodeJS.ArrayBufferView
    const transfers = parts.flatMap((array, peer): ArrayTransfer[] => {
      if (peer === this.rank) return []
      return [
        { peer, direction: 'send', array: own },
        { peer, direction: 'receive', array },
      ]
    })
    return this.transfer(COLLECTIVE_CHANNEL, transfers).done
  }

  /** Runs a collective. Collectives share a channel, so each begins when the one before has ended, on every rank. */
  private inTurn<T>(run: () => Promise<T>): Promise<T> {
    if (this.closing) return Promise.reject(closed())
    const turn = this.collective.then(run)
    this.collective = turn.catch(() => {})
    return turn
  }

  /** The traffic of this process so far. */
  traffic(): ChannelTraffic[] {
    return readTraffic(this.trafficMemory)
  }

  /** Prints one message and ends all ranks. @param code Exit code; 0 counts as 1. */
  abort(message: string, code: number): never {
    this.unguard()
    writeError(`${message}\n`)
    block(FORWARD_MS)
    this.ring.abort(code || 1)
    // The courier's call of MPI_Abort ends this process too, unless it hangs, or still waits for others to start.
    if (this.started) block(ABORT_GRACE_MS)
    process.kill(process.pid, 'SIGKILL')
    throw new RuntimeError('internal: the process has been killed')
  }

  /** Waits for all ranks to call it, finalizes MPI and ends the courier. No order may be open. */
  close(): Promise<void> {
    if (!this.closing) {
      const last = this.barrier()
      this.closing = last.then(async () => {
        const ended = new Promise<void>((resolve, reject) => {
          this.settleClose = () => (this.failure ? reject(this.failure) : resolve())
        })
        this.worker.ref()
        this.ring.close()
        await ended
        this.unguard()
        this.failure = closed()
        await this.worker.terminate()
      })
    }
    return this.closing
  }

  private receive(message: CourierReport): void {
    if (message.kind === 'done') this.done(message.ticket)
    else if (message.kind === 'ready') {
      this.started = message
      this.settleStart?.()
    } else if (message.kind === 'closed') this.settleClose?.()
    else {
      this.fail(new (message.usage ? UsageError : RuntimeError)(message.message))
      if (!message.joined) this.unguard()
    }
  }

  private done(ticket: number): void {
    const waiting = this.waiting.get(ticket)
    this.waiting.delete(ticket)
    if (this.waiting.size === 0) this.worker.unref()
    waiting?.resolve()
  }

  private fail(error: Error): void {
    if (this.failure) return
    this.failure = error
    this.worker.unref()
    this.settleStart?.(error)
    this.settleClose?.()
    for (const { reject } of this.waiting.values()) reject(error)
  }

  private unguard(): void {
    process.off('exit', this.onExit)
    process.off('uncaughtExceptionMonitor', this.onUncaught)
  }

  private exitEarly(code: number): never {
    const { uncaught } = this
    this.onEarlyExit(uncaught === undefined ? `ended early, with exit code ${code}` : String(uncaught))
    const reason = uncaught === undefined ? '' : `${(uncaught instanceof Error && uncaught.stack) || uncaught}\n`
    const own = rankName({ rank: this.rank, ...this.roster[this.rank] }, this.size)
    this.abort(`${reason}${own} ended early, with exit code ${code}: all ranks are stopped`, code)
  }
}

const closed = (): Error => new RuntimeError('internal: the ranks have been closed')

const block = (milliseconds: number): unknown =>
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, milliseconds)

function writeError(text: string): void {
  try {
    writeSync(2, text)
  } catch {
    // The reader of the error output is gone.
  }
}
