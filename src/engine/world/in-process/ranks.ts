/**
 * Ranks in one process, for checks and tests: transfers are copies in memory. Programs post nothing to them, so ranks do
 * not share the experts of a layer.
 */
import type { Ranks, Transfer } from '../../contract/ranks.ts'
import { NOT_POSTED } from '../../contract/runtime.ts'
import { createOrders } from '../mpi/orders.ts'

/** Messages by channel, sender and receiver, and the receivers that wait for them. */
class Post {
  private readonly messages = new Map<string, Float32Array[]>()
  private readonly waiting = new Map<string, ((data: Float32Array) => void)[]>()

  send(key: string, data: Float32Array): void {
    const copy = data.slice()
    const receiver = this.waiting.get(key)?.shift()
    if (receiver) receiver(copy)
    else this.messages.set(key, [...(this.messages.get(key) ?? []), copy])
  }

  receive(key: string): Promise<Float32Array> {
    const message = this.messages.get(key)?.shift()
    if (message) return Promise.resolve(message)
    return new Promise((resolve) => this.waiting.set(key, [...(this.waiting.get(key) ?? []), resolve]))
  }
}

/** A call that all ranks make, in order. */
class Meeting<T> {
  private readonly size: number
  private rounds: { readonly values: T[]; readonly done: (values: T[]) => void; readonly all: Promise<T[]> }[] = []
  private readonly next: number[]

  constructor(size: number) {
    this.size = size
    this.next = Array.from({ length: size }, () => 0)
  }

  join(rank: number, value: T): Promise<T[]> {
    const at = this.next[rank] as number
    this.next[rank] = at + 1
    let round = this.rounds[at]
    if (!round) {
      let done: (values: T[]) => void = () => {}
      const all = new Promise<T[]>((resolve) => {
        done = resolve
      })
      round = { values: new Array<T>(this.size), done, all }
      this.rounds[at] = round
    }
    round.values[rank] = value
    if (Object.keys(round.values).length === this.size) round.done(round.values)
    return round.all
  }
}

/** The ranks of a world in this process. */
export function ranksInProcess(size: number): Ranks[] {
  const post = new Post()
  const numbers = new Meeting<Float64Array>(size)
  const texts = new Meeting<string>(size)
  return Array.from({ length: size }, (_, rank) => ({
    rank,
    size,
    roster: Array.from({ length: size }, (_, of) => ({ rank: of, host: 'here', pid: process.pid })),
    orders: createOrders(),
    begin(channel: number, transfers: readonly Transfer[]) {
      return { ticket: NOT_POSTED, done: this.exchange(channel, transfers) }
    },
    async exchange(channel: number, transfers: readonly Transfer[]) {
      const received = transfers.map(async ({ peer, direction, array }) => {
        if (direction === 'send') return post.send(`${channel} ${rank} ${peer}`, array)
        const data = await post.receive(`${channel} ${peer} ${rank}`)
        if (data.length !== array.length)
          throw new Error(`rank ${rank} expects ${array.length} floats of rank ${peer}, got ${data.length}`)
        array.set(data)
      })
      await Promise.all(received)
    },
    completion: () => Promise.reject(new Error('internal: programs of ranks in one process order nothing')),
    async allGather(values: Float64Array) {
      const all = await numbers.join(rank, values.slice())
      return Float64Array.from(all.flatMap((of) => [...of]))
    },
    gatherText: (text: string) => texts.join(rank, text),
  }))
}
