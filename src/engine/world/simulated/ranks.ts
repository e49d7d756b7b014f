/**
 * One rank of a world that does not exist, for measuring the memory and the time of a rank on one machine. It holds,
 * computes, sends and receives as many bytes as in a true world of that size; the data that it receives is made up
 * (`answers.ts`). It needs no MPI library.
 */
import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import { packageFile } from '../../../core/package-file.ts'
import type { Begun, Ranks, Transfer } from '../../contract/ranks.ts'
import { NOT_POSTED } from '../../contract/runtime.ts'
import { createOrders } from '../mpi/orders.ts'
import { OrderRing } from '../mpi/ring.ts'
import { type ChannelTraffic, createTraffic, readTraffic, TrafficRecorder } from '../mpi/traffic.ts'
import { answers } from './answers.ts'
import type { SimulatedCourierData } from './courier.ts'

export class SimulatedRanks implements Ranks {
  readonly rank = 0
  readonly keepsValues = true
  readonly size: number
  readonly roster: Ranks['roster']
  readonly orders = createOrders()
  private readonly courierTraffic = createTraffic()
  private readonly ownTraffic = createTraffic()
  private readonly recorder = new TrafficRecorder(this.ownTraffic)
  private readonly worker: Worker

  /** @param size Number of ranks in the world, of which this process is the first. */
  constructor(size: number) {
    this.size = size
    this.roster = Array.from({ length: size }, (_, rank) => ({ rank, host: 'simulated', pid: process.pid }))
    const workerData: SimulatedCourierData = { orders: this.orders, traffic: this.courierTraffic }
    this.worker = new Worker(packageFile('dist/engine/world/simulated/courier.js'), { workerData, execArgv: [] })
    this.worker.unref()
  }

  async exchange(channel: number, transfers: readonly Transfer[]): Promise<void> {
    return this.begin(channel, transfers).done
  }

  begin(channel: number, transfers: readonly Transfer[]): Begun {
    this.recorder.begin(channel, performance.now())
    for (const { to, from } of answers(transfers))
      if (from) to.array.set(from.array.subarray(0, Math.min(to.array.length, from.array.length)))
    for (const { direction, array } of transfers) this.recorder.add(channel, direction, array.byteLength)
    this.recorder.end(channel, performance.now())
    return { ticket: NOT_POSTED, done: Promise.resolve() }
  }

  async completion(ticket: number): Promise<void> {
    const ring = new OrderRing(this.orders)
    while (!ring.isDone(ticket)) await new Promise((resolve) => setTimeout(resolve, 1))
  }

  async allGather(values: Float64Array): Promise<Float64Array> {
    const all = new Float64Array(this.size * values.length)
    for (let rank = 0; rank < this.size; rank++) all.set(values, rank * values.length)
    return all
  }

  async gatherText(text: string): Promise<readonly string[]> {
    return Array.from({ length: this.size }, () => text)
  }

  /** The traffic of this rank so far, with the time that it took to make up the data that it received. */
  traffic(): ChannelTraffic[] {
    const [own, couriers] = [readTraffic(this.ownTraffic), readTraffic(this.courierTraffic)]
    return [...new Set([...own, ...couriers].map(({ channel }) => channel))].map((channel) => {
      const of = [...own, ...couriers].filter((each) => each.channel === channel)
      const sum = (value: (each: ChannelTraffic) => number) => of.reduce((total, each) => total + value(each), 0)
      return {
        channel,
        sentBytes: sum(({ sentBytes }) => sentBytes),
        receivedBytes: sum(({ receivedBytes }) => receivedBytes),
        seconds: sum(({ seconds }) => seconds),
      }
    })
  }

  /** Ends the courier, after its last order. */
  async close(): Promise<void> {
    const ended = once(this.worker, 'exit')
    this.worker.ref()
    new OrderRing(this.orders).close()
    await ended
  }
}
