/**
 * Memory of a bound program as work of the host sees it (`HostMemory`). One object lives for one run of the program.
 *
 * A run that stops, because more rows arrive than there is room for (`TooManyRows`), begins again in a program with more
 * room. Other ranks do not see this: what had arrived is kept, so that the new run reads it instead of exchanging once
 * more. It computes the same numbers, so what it would send has been sent.
 */

import type { OrderLog } from '../contract/order-log.ts'
import type { Transfer } from '../contract/ranks.ts'
import { now } from '../contract/recording.ts'
import { RuntimeError } from '../contract/runtime-error.ts'
import type { DeviceGroup, HostMemory, Operand } from './kernels/contract.ts'
import type { Slice } from './program/slice.ts'
import type { WorkQueue } from './queue.ts'

/** The memory of an operand, and its value in the program, which other operands may stand for too. */
export interface Place {
  readonly value: number
  readonly slice: Slice
}

/** What other ranks send in an exchange. */
interface Received {
  readonly array: Float32Array
  readonly done: Promise<void>
}

/** The memory of a run, and what has arrived in it, in the order of the exchanges. */
export interface HostPlaces extends HostMemory {
  readonly received: readonly Received[]
  /** Work of the host that follows is logged as the work of this index. */
  enter(index: number): void
  /** Keeps nothing that arrives from now on: the run will not begin again. */
  forget(): void
}

/** @param received What had arrived in a run that has stopped, in the order of the exchanges. */
export function hostMemory(
  queue: WorkQueue,
  group: DeviceGroup | null,
  log: OrderLog | null,
  places: ReadonlyMap<Operand, Place>,
  received: readonly Received[] = [],
): HostPlaces {
  if (!group) throw new RuntimeError('internal: rows are exchanged without other ranks')
  const known = new Map<number, readonly number[]>()
  const underWay = new Map<number, { array: Float32Array; ticket: number; done: Promise<void> }>()
  const kept: Received[] = []
  let exchanges = 0
  let keeps = true
  let stage = 0
  const placeOf = (operand: Operand): Place => {
    const place = places.get(operand)
    if (!place) throw new Error('internal: work of the host uses memory that it does not name')
    return place
  }
  const read = async ({ buffer, offset }: Slice, count: number): Promise<ArrayBuffer> => {
    let result = new ArrayBuffer(0)
    if (count === 0) return result
    queue.readBack([{ buffer, offset, bytes: 4 * count }], (bytes) => {
      result = bytes
    })
    await queue.synchronize()
    return result
  }
  const write = ({ buffer, offset }: Slice, values: Float32Array | Int32Array) => {
    if (values.length > 0) queue.write(buffer, offset, values)
  }
  const begin = (transfers: readonly Transfer[], array: Float32Array) => {
    const ticket = exchanges++
    const before = received[ticket]
    const done = before ? before.done.then(() => array.set(before.array)) : send(ticket, transfers)
    if (keeps) kept.push({ array, done })
    return { ticket, done }
  }
  const send = (ticket: number, transfers: readonly Transfer[]) => {
    const sent = new Array<number>(group.size).fill(0)
    for (const { peer, direction, array } of transfers)
      if (direction === 'send') sent[peer - group.first] = (sent[peer - group.first] as number) + array.byteLength
    log?.post(ticket, stage, now(), sent)
    return group.exchange(transfers)
  }
  return {
    group,
    received: kept,
    enter(index) {
      stage = index
    },
    forget() {
      keeps = false
      kept.length = 0
    },
    async integers(of) {
      const { value, slice } = placeOf(of)
      const numbers = known.get(value) ?? Array.from(new Int32Array(await read(slice, of.size), 0, of.size))
      known.set(value, numbers)
      return numbers
    },
    setIntegers(of, values) {
      const { value, slice } = placeOf(of)
      known.set(value, values)
      write(slice, Int32Array.from(values))
    },
    words: async (of, count) => new Float32Array(await read(placeOf(of).slice, count), 0, count),
    setWords: (of, words) => write(placeOf(of).slice, words),
    async exchange(transfers, array) {
      const { ticket, done } = begin(transfers, array)
      const start = now()
      await done
      log?.wait(ticket, start, now())
    },
    expect(of, transfers, array) {
      const travelling = begin(transfers, array)
      // The failure is handled when the array is awaited.
      travelling.done.catch(() => {})
      underWay.set(placeOf(of).value, { array, ...travelling })
    },
    async arrived(of) {
      const { value } = placeOf(of)
      const travelling = underWay.get(value)
      if (!travelling) throw new RuntimeError('internal: rows are awaited that nobody sends')
      underWay.delete(value)
      const start = now()
      await travelling.done
      log?.wait(travelling.ticket, start, now())
      return travelling.array
    },
  }
}
