/**
 * Batches of windows of a token stream.
 *
 * Training reads the stream as a ring. In every epoch the ring is cut into windows of `sequence` tokens
 * from a seeded starting point, and each window is used once, in a seeded order. The windows of a step
 * are a function of (seed, step) alone, so training can resume at any step.
 */
import { UsageError } from '../../core/errors.ts'
import { hashNumbers, permute } from '../../core/permutation.ts'
import type { TokenStream } from './streams/token-stream.ts'

/** Arrays of shape [batch · sequence]. A target is the token that follows; a target of -1 is not counted. */
export interface Batch {
  readonly tokens: Int32Array
  readonly targets: Int32Array
  /** With replayed routes, experts [batch · sequence, K] by router; a negative number leaves a choice to the router. */
  readonly experts?: readonly Int32Array[]
}

/** Routes of the tokens of a training, in place of the choices of routers. */
export interface TrainingReplay {
  /** Hash of the routes: a run cannot continue with others. */
  readonly hash: string
  /** Number of choices of a token, K, of each router in the order of computation. */
  readonly choices: readonly number[]
  /** Writes the experts of a token, at `position` of the training stream, to place `t` of {@link Batch.experts}. */
  fill(position: number, token: number, experts: readonly Int32Array[], t: number): void
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
 * @param replay Fills `into.experts`.
 * @throws UsageError if the stream is shorter than one sequence and its last target
 */
export function trainBatch(
  stream: TokenStream,
  shape: BatchShape,
  seed: number,
  step: number,
  into: Batch,
  replay: TrainingReplay | null = null,
): void {
  const { batch, sequence } = shape
  const windows = windowsOf(stream, sequence)
  if (windows === 0) throw new UsageError(tooShortMessage('training', stream.length, sequence))
  const window = new Int32Array(sequence + 1)
  for (let row = 0; row < batch; row++) {
    const index = step * batch + row
    const epoch = Math.floor(index / windows)
    const place = permute(index % windows, windows, seed, epoch, ORDER)
    const shift = Math.floor((hashNumbers(seed, epoch, START) / 2 ** 32) * stream.length)
    const start = (shift + place * sequence) % stream.length
    readRing(stream, start, window)
    for (let s = 0; replay && into.experts && s < sequence; s++)
      replay.fill((start + s) % stream.length, window[s] as number, into.experts, row * sequence + s)
    into.tokens.set(window.subarray(0, sequence), row * sequence)
    into.targets.set(window.subarray(1), row * sequence)
  }
}

/** Reads tokens from `offset` on; after its end the stream begins again. */
function readRing(stream: TokenStream, offset: number, into: Int32Array): void {
  for (let at = 0, from = offset; at < into.length; from = 0) {
    const run = into.subarray(at, at + stream.length - from)
    stream.read(from, run)
    at += run.length
  }
}

/** A batch of held-out text. */
export interface HeldOutBatch {
  /** Number of targets that count. */
  readonly counted: number
  /** [batch] Position in the stream of the first token of each row. */
  readonly starts: readonly number[]
}

/**
 * Cuts the whole stream into windows without gaps and shuffles them: every token but the first is a target once. The
 * order does not depend on a seed, so all runs are evaluated on the same batches. A batch mixes texts as a training
 * batch does: a batch of one document would overflow the experts that this document prefers. Fills `into` for each
 * batch that it yields. Rows and positions that are left over hold text from elsewhere in the stream, with targets of
 * -1, so that the load of the experts stays typical of text.
 */
export function* heldOutBatches(stream: TokenStream, shape: BatchShape, into: Batch): Generator<HeldOutBatch, void> {
  const { batch, sequence } = shape
  const targets = stream.length - 1
  const windows = Math.ceil(targets / sequence)
  const window = new Int32Array(sequence + 1)
  for (let first = 0; first < windows; first += batch) {
    let counted = 0
    const starts: number[] = []
    into.targets.fill(-1)
    for (let row = 0; row < batch; row++) {
      const index = first + row
      const start = permute(index % windows, windows, 0, 0, ORDER) * sequence
      starts.push(start)
      readRing(stream, start, window)
      into.tokens.set(window.subarray(0, sequence), row * sequence)
      if (index >= windows) continue
      const own = Math.min(sequence, targets - start)
      into.targets.set(window.subarray(1, own + 1), row * sequence)
      counted += own
    }
    yield { counted, starts }
  }
}

export function tooShortMessage(side: string, tokens: number, sequence: number): string {
  return (
    `data.source: too little text: ${tokens} ${side} tokens, but model.sequence ${sequence} needs at least ` +
    `${sequence + 1}; give more text, lower model.sequence, or change data.heldOut`
  )
}
