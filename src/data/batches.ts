/**
 * Windows of a token stream as batches.
 *
 * Training reads the stream as a ring. In every epoch it is cut into windows of `sequence` tokens from
 * a seeded starting point, and each window is used once, in a seeded order. Which windows a step gets
 * follows from (seed, step) alone, so training resumes anywhere.
 */
import { UsageError } from '../errors.ts'
import { hashNumbers, permute } from './random.ts'
import type { TokenStream } from './streams/token-stream.ts'

/** [batch · sequence] each. A target is the token that follows; -1 is not counted. */
export interface Batch {
  readonly tokens: Int32Array
  readonly targets: Int32Array
}

export interface BatchShape {
  readonly batch: number
  readonly sequence: number
}

/** Distinguishes the two uses of a seed. */
const ORDER = 1
const START = 2

/** Windows in an epoch. */
export function windowsOf(stream: TokenStream, sequence: number): number {
  return Math.floor((stream.length - 1) / sequence)
}

/**
 * Fills `into` with the batch of a step (from 0). When an epoch ends inside a batch, the next begins
 * there; a stream of fewer windows than a batch repeats.
 * @throws UsageError when the stream is shorter than a sequence and its last target
 */
export function trainBatch(stream: TokenStream, shape: BatchShape, seed: number, step: number, into: Batch): void {
  const { batch, sequence } = shape
  const windows = windowsOf(stream, sequence)
  if (windows === 0) throw new UsageError(tooShort('training', stream.length, sequence))
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
 * All of a stream in order, in windows one after the other: every token but the first is a target
 * once. Fills `into` for each batch and yields how many of its targets count. What the last batch does
 * not need repeats the stream, with target -1: the load on experts stays that of the text.
 */
export function* heldOutBatches(stream: TokenStream, shape: BatchShape, into: Batch): Generator<number, void> {
  const size = shape.batch * shape.sequence
  const targets = stream.length - 1
  const span = new Int32Array(size + 1)
  for (let from = 0; from < targets; from += size) {
    const counted = Math.min(size, targets - from)
    // Windows follow each other without a gap, so a batch is one span cut into rows.
    stream.read(from, span.subarray(0, counted + 1))
    into.tokens.set(span.subarray(0, counted))
    into.targets.set(span.subarray(1, counted + 1))
    for (let at = counted; at < size; at += targets)
      stream.read(0, into.tokens.subarray(at, Math.min(size, at + targets)))
    into.targets.fill(-1, counted, size)
    yield counted
  }
}

export function tooShort(side: string, tokens: number, sequence: number): string {
  return (
    `data.source: too little text: ${tokens} ${side} tokens, but model.sequence ${sequence} needs at least ` +
    `${sequence + 1}; give more text, lower model.sequence, or change data.heldOut`
  )
}
