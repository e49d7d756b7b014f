/**
 * Finds the rank that keeps the others waiting. The peer of an overdue order may itself wait for a third rank, so a
 * courier asks all ranks which ranks they wait for. Couriers answer while other threads compute or hang. A rank that
 * does not answer is stopped or gone; a rank that answers and waits for no other takes no part.
 */
import { addressOf } from '../../native/ffi.ts'
import type { Mpi, Request } from './adapter.ts'
import { ANSWER_CHANNEL, QUESTION_CHANNEL } from './orders.ts'

/** Time that ranks have to answer: several times the pause of an idle courier, enough on a busy machine. */
const ANSWER_MS = 2000

/** The ranks that a rank waits for; null if it has not answered. */
export type Waits = readonly number[] | null

export interface Suspects {
  readonly ranks: readonly number[]
  /** Whether the suspects have answered. */
  readonly answered: boolean
}

/**
 * The ranks at the ends of the chains of waiting ranks that begin at `rank`; empty if ranks wait for each other.
 * @param waits The ranks that each rank waits for.
 */
export function suspectsOf(rank: number, waits: readonly Waits[]): Suspects {
  const reached = new Set([rank])
  // The iterator of a set also reaches ranks that are added on the way.
  for (const each of reached) for (const next of waits[each] ?? []) reached.add(next)
  const ends = [...reached].sort((a, b) => a - b)
  const silent = ends.filter((each) => waits[each] === null)
  if (silent.length > 0) return { ranks: silent, answered: false }
  return { ranks: ends.filter((each) => waits[each]?.length === 0), answered: true }
}

interface Pending {
  readonly bytes: Uint8Array
  readonly request: Request
}

export class Inquiry {
  private readonly mpi: Mpi
  private readonly rank: number
  private readonly size: number
  /** Memory that MPI reads from until a message is sent. */
  private sent: Pending[] = []
  private answers: (Pending | null)[] = []
  private received: boolean[] = []
  private askedAt = 0

  constructor(mpi: Mpi, rank: number, size: number) {
    this.mpi = mpi
    this.rank = rank
    this.size = size
  }

  /** Asks all other ranks. */
  ask(): void {
    this.askedAt = performance.now()
    this.answers = Array.from({ length: this.size }, (_, peer) => {
      if (peer === this.rank) return null
      const bytes = new Uint8Array(this.size)
      const request = this.mpi.irecv(Number(addressOf(bytes)), bytes.length, peer, ANSWER_CHANNEL)
      this.send(new Uint8Array(Int32Array.of(this.rank).buffer), peer, QUESTION_CHANNEL)
      return { bytes, request }
    })
    this.received = this.answers.map((answer) => answer === null)
  }

  /** The answers of all ranks, this rank's own included; undefined until all have answered or their time is over. */
  result(own: readonly number[]): readonly Waits[] | undefined {
    for (const [peer, answer] of this.answers.entries())
      if (answer && !this.received[peer] && this.mpi.test(answer.request)) this.received[peer] = true
    if (!this.received.every(Boolean) && performance.now() - this.askedAt < ANSWER_MS) return undefined
    return this.answers.map((answer, peer) => {
      if (!answer) return own
      return this.received[peer] ? [...answer.bytes.keys()].filter((other) => answer.bytes[other] === 1) : null
    })
  }

  /** Answers the questions of other ranks. @param own The ranks that this rank waits for. */
  reply(own: readonly number[]): void {
    while (this.mpi.probe(QUESTION_CHANNEL)) {
      const asker = new Int32Array(1)
      const request = this.mpi.irecv(Number(addressOf(asker)), asker.byteLength, this.mpi.anySource, QUESTION_CHANNEL)
      while (!this.mpi.test(request)) {
        // The message has arrived, so the wait is short.
      }
      const bytes = new Uint8Array(this.size)
      for (const peer of own) bytes[peer] = 1
      this.send(bytes, asker[0] as number, ANSWER_CHANNEL)
    }
    this.sent = this.sent.filter(({ request }) => !this.mpi.test(request))
  }

  private send(bytes: Uint8Array, peer: number, channel: number): void {
    this.sent.push({ bytes, request: this.mpi.isend(Number(addressOf(bytes)), bytes.length, peer, channel) })
  }
}
