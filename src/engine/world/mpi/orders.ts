/**
 * The layout of the shared memory through which threads order communication.
 *
 * An *order* is a list of transfers with peers that belong together: it is done when all of them are done. Posters
 * append orders to a ring of numbers, in turn; only the courier reads them (inbox.ts). Each order has a *ticket*, its
 * number since the start. Orders end in any sequence, so tickets share slots in turn, and a slot has the number of its
 * orders that are done. A ticket gets its slot when the ticket one round earlier is done.
 *
 *     Int32    lock, bell, ... (below) │ a counter for each slot
 *     bytes    text of the error
 *     Float64  next ticket │ ring: channel, reports, transfers, then for each: peer, sends, address, bytes
 */

export interface Transfer {
  /** The other rank. */
  readonly peer: number
  readonly direction: 'send' | 'receive'
  /** Address of the first byte. Keep the memory alive, and unchanged if it is sent, until the order is done. */
  readonly address: number
  /** Number of bytes, which both sides know. Nothing is transferred if it is 0. */
  readonly bytes: number
}

export interface Order {
  readonly ticket: number
  /** Messages between two ranks in one channel arrive in the sequence in which their orders were posted. */
  readonly channel: number
  readonly transfers: readonly Transfer[]
  /** Whether the courier reports the end by a message to the thread that started it. */
  readonly reports: boolean
}

/** Number of channels. They are tags of messages, for which MPI guarantees 15 bits. */
export const CHANNELS = 4096
/** The last channels are not for callers. */
export const ROSTER_CHANNEL = CHANNELS - 1
export const COLLECTIVE_CHANNEL = CHANNELS - 2
export const QUESTION_CHANNEL = CHANNELS - 3
export const ANSWER_CHANNEL = CHANNELS - 4
export const MAX_CHANNEL = CHANNELS - 5

/** Indices of the control integers. */
export const LOCK = 0
/** A counter that grows when there is something new for the courier. */
export const BELL = 1
/** A counter that grows when there is something new for a poster that waits for space. */
export const SPACE = 2
/** Numbers written to and read from the ring so far, modulo 2³². */
export const WRITTEN = 3
export const READ = 4
/** A command for the courier, and the exit code of the command to abort. */
export const COMMAND = 5
export const EXIT_CODE = 6
export const ERROR_BYTES = 7
const RING_NUMBERS = 8
const SLOTS = 9
const CONTROL_INTEGERS = 16

export const COMMAND_CLOSE = 1
export const COMMAND_ABORT = 2

/** The value of all slots after a failure. */
export const FAILED = -1

export const HEADER_NUMBERS = 3
export const TRANSFER_NUMBERS = 4
const MAX_ERROR_BYTES = 4096

/** Views of the memory of orders. */
export interface OrdersMemory {
  readonly control: Int32Array
  readonly slots: Int32Array
  readonly error: Uint8Array
  readonly nextTicket: Float64Array
  /** The ring of numbers. Its length is a power of two. */
  readonly ring: Float64Array
}

export interface OrdersSize {
  /** Length of the ring, a power of two. */
  readonly ringNumbers: number
  /** Number of orders that may be open, a multiple of two. */
  readonly slots: number
}

/** The usual size, enough for an order that sends to and receives from 512 ranks. */
const usualSize: OrdersSize = { ringNumbers: 8192, slots: 1024 }

export function createOrders({ ringNumbers, slots }: OrdersSize = usualSize): SharedArrayBuffer {
  const buffer = new SharedArrayBuffer((CONTROL_INTEGERS + slots) * 4 + MAX_ERROR_BYTES + (1 + ringNumbers) * 8)
  const control = new Int32Array(buffer)
  control[RING_NUMBERS] = ringNumbers
  control[SLOTS] = slots
  return buffer
}

export function ordersMemory(buffer: SharedArrayBuffer): OrdersMemory {
  const control = new Int32Array(buffer, 0, CONTROL_INTEGERS)
  const slots = new Int32Array(buffer, control.byteLength, control[SLOTS])
  const error = new Uint8Array(buffer, slots.byteOffset + slots.byteLength, MAX_ERROR_BYTES)
  const nextTicket = new Float64Array(buffer, error.byteOffset + error.byteLength, 1)
  const ring = new Float64Array(buffer, nextTicket.byteOffset + nextTicket.byteLength, control[RING_NUMBERS])
  return { control, slots, error, nextTicket, ring }
}

/** The text of the error after a failure. */
export function failureOf({ control, error }: OrdersMemory): string {
  // `TextDecoder` refuses shared memory, so the text is copied.
  return new TextDecoder().decode(error.slice(0, Atomics.load(control, ERROR_BYTES)))
}
