/**
 * Batches of windows of a token stream.
 *
 * Training reads the stream as a ring. In every epoch the ring is cut into windows of `sequence` tokens
 * from a seeded starting point, and each window is used once, in a seeded order. The windows of a step
 * are a function of (seed, step) alone, so training can resume at any step.
 */
import { UsageError } from '../errors.ts'
import { hashNumbers, permute } from './random.ts'
import type { TokenStream } from './streams/token-stream.ts'

/** Each [batch · sequence]. A target is the token that follows; a target of -1 is not counted. */
export interface Batch {
  readonly tokens: Int32Array
  readonly targets: Int32Array
}

export interface BatchShape {
  readonly batch: number
  readonly sequence: number
}

/** Hash keys of the two uses of a seed. */
const ORDER = 1
const START = 2

/** Number of windows in an epoch. */
export function windowsOf(stream: TokenStream, sequence: number): number {
  return Math.floor((stream.length - 1) / sequence)
}

/**
 * Fills `into` with the batch of a step (from 0). If an epoch ends inside a batch, the next one begins
 * there; a stream with fewer windows than a batch repeats.
 * @throws UsageError if the stream is shorter than one sequence and its last target
 */
export function trainBatch(stream: TokenStream, shape: BatchShape, seed: number, step: number, into: Batch): void {
  const { batch, sequence } = shape
  const windows = windowsOf(stream, sequence)
  if (windows === 0) throw new UsageError(tooShortMessage('training', stream.length, sequence))
  const window = new Int32Array(sequence + 1)
  for (let row = 0; row < batch; row++) {
    const index = step * batch + row
    const epoch = Math.floor(index / windows)
    const place = permute(index % windows, windows, seed, epoch, ORDER)
    const shift = Math.floor((hashNumbers(seed, epoch, START) / 2 ** 32) * stream.length)
    readRing(stream, (shift + place * sequence) % stream.length, window)
    into.tokens.set(window.subarray(0, sequence), row * sequence)
    into.targets.set(window.subarray(1), row * sequence)
  }
}

function readRing(stream: TokenStream, offset: number, into: Int32Array): void {
  const beforeEnd = Math.min(into.length, stream.length - offset)
  stream.read(offset, into.subarray(0, beforeEnd))
  if (beforeEnd < into.length) stream.read(0, into.subarray(beforeEnd))
}

/**
 * The whole stream in order, in consecutive windows: every token but the first is a target once. Fills
 * `into` for each batch and yields the number of targets that count. The rest of the last batch is filled
 * with text from the start of the stream, with targets of -1, so that the expert load stays that of text.
 */
export function* heldOutBatches(stream: TokenStream, shape: BatchShape, into: Batch): Generator<number, void> {
  const size = shape.batch * shape.sequence
  const targets = stream.length - 1
  const span = new Int32Array(size + 1)
  for (let from = 0; from < targets; from += size) {
    const counted = Math.min(size, targets - from)
    // Windows have no gaps between them, so a batch is one span cut into rows.
    stream.read(from, span.subarray(0, counted + 1))
    into.tokens.set(span.subarray(0, counted))
    into.targets.set(span.subarray(1, counted + 1))
    for (let at = counted; at < size; at += targets)
      stream.read(0, into.tokens.subarray(at, Math.min(size, at + targets)))
    into.targets.fill(-1, counted, size)
    yield counted
  }
}

export function tooShortMessage(side: string, tokens: number, sequence: number): string {
  return (
    `data.source: too little text: ${tokens} ${side} tokens, but model.sequence ${sequence} needs at least ` +
    `${sequence + 1}; give more text, lower model.sequence, or change data.heldOut`
  )
}
