/**
 * The courier of a simulated world: it fulfils the orders of other threads at once, without other ranks (`answers.ts`).
 */
import { workerData } from 'node:worker_threads'
import { loadLibrary } from '../../native/ffi.ts'
import { Inbox } from '../mpi/inbox.ts'
import { COMMAND_CLOSE, type Order } from '../mpi/orders.ts'
import { TrafficRecorder } from '../mpi/traffic.ts'
import { answers } from './answers.ts'

/** Memory of the ring, and of the counters of traffic. */
export interface SimulatedCourierData {
  readonly orders: SharedArrayBuffer
  readonly traffic: SharedArrayBuffer
}

const { orders, traffic } = workerData as SimulatedCourierData
const inbox = new Inbox(orders)
const recorder = new TrafficRecorder(traffic)
const move = loadLibrary(null).func('memmove', 'void *', ['uintptr_t', 'uintptr_t', 'size_t'])

function fulfil({ channel, transfers }: Order): void {
  recorder.begin(channel, performance.now())
  for (const { to, from } of answers(transfers))
    if (from) move(to.address, from.address, Math.min(to.bytes, from.bytes))
  for (const { direction, bytes } of transfers) recorder.add(channel, direction, bytes)
  recorder.end(channel, performance.now())
}

for (;;) {
  const bell = inbox.bell()
  let order = inbox.take()
  while (order) {
    fulfil(order)
    inbox.finish(order.ticket)
    order = inbox.take()
  }
  if (inbox.command() === COMMAND_CLOSE) break
  inbox.sleep(bell)
}
