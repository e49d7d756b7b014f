/**
 * Measures the signal in the residual stream of an untrained model. Think of a probe on the stream before
 * every layer: how large is it, how large is its gradient, and how much of it is determined by the current
 * token rather than by its context? If the last hidden state hardly depends on its own token, training
 * starts without its most useful input.
 */
import { totalmem } from 'node:os'
import type { RunConfig } from '../../core/config/run-config.ts'
import { option, RunError, wording } from '../../core/errors.ts'
import { gradient } from '../../core/graph/ops/gradient.ts'
import { sizeOf } from '../../core/graph/shape.ts'
import { withKernels } from '../../core/graph/tensor.ts'
import { parameterSpecs } from '../../core/model/parameters.ts'
import { randomFor } from '../../core/random.ts'
import { CompiledPass, tracePass } from '../../train/step/passes/pass.ts'
import { initialize, initialScales } from '../../train/step/store/initialize.ts'
import { ParameterStore } from '../../train/step/store/store.ts'
import { openRuntime } from '../run/session.ts'

/** The residual stream at one depth. */
export interface StreamSignal {
  /** Number of layers passed; 0 is the embedding. */
  readonly depth: number
  /** Root mean square over tokens and width. */
  readonly activation: number
  /** Root mean square of the gradient of a token's own loss: gradient of the mean loss times the number of tokens. */
  readonly gradient: number
  /** Share of the variance over tokens that is explained by the id of the current token, 0 to 1. */
  readonly tokenShare: number
}

export interface Signal {
  readonly stream: readonly StreamSignal[]
  /** Cross-entropy of uniformly drawn targets, nats per token. */
  readonly loss: number
  /** ln V, the loss of an uninformed model. */
  readonly uniformLoss: number
}

/** Bounds of a sound start: see docs/configuration.md. */
const signalBounds = { tokenShare: 0.5, overDepth: 3, lossAboveUniform: 0.1 } as const

/** Problems of the initial model, with the settings to change; empty if the start is sound. */
export function signalProblems({ stream, loss, uniformLoss }: Signal): string[] {
  const problems: string[] = []
  const last = stream.at(-1)
  if (last && last.tokenShare < signalBounds.tokenShare)
    problems.push(
      `the token explains ${percent(last.tokenShare)} of the last hidden state, less than ${percent(signalBounds.tokenShare)} ` +
        '(raise train.init.embedding, or lower train.init.residual)',
    )
  for (const kind of ['activation', 'gradient'] as const) {
    const sizes = stream.map((signal) => signal[kind])
    const ratio = Math.max(...sizes) / Math.min(...sizes)
    if (!(ratio <= signalBounds.overDepth))
      problems.push(
        `${kind}s differ by a factor of ${ratio.toFixed(1)} over depth, more than ${signalBounds.overDepth} ` +
          '(lower train.init.residual, or raise train.init.embedding)',
      )
  }
  const above = loss - uniformLoss
  if (!(Math.abs(above) <= signalBounds.lossAboveUniform))
    problems.push(
      `the initial loss is ${Math.abs(above).toFixed(2)} nats ${above > 0 ? 'above' : 'below'} ln V, more than ` +
        `${signalBounds.lossAboveUniform} (raise model.embeddingScale, or lower train.init.head of an untied head)`,
    )
  return problems
}

const percent = (share: number): string => `${Math.round(100 * share)} %`

/** Number of distinct tokens in the measured text: few, so that each occurs in many contexts. */
const TOKENS = 32
/** Minimum length of the measured text, tokens. */
const MIN_LENGTH = 2048

/**
 * Measures the initial model of a run on random text, with one dropless forward and backward pass.
 * @throws RunError if the parameters need more than half of the machine's memory
 */
export async function measureSignal(config: RunConfig): Promise<Signal> {
  const { model, train } = config
  const { sequence, vocabulary, width } = model
  const specs = parameterSpecs(model)
  const bytes = 4 * specs.reduce((sum, { shape }) => sum + sizeOf(shape), 0)
  if (bytes > totalmem() / 2)
    throw new RunError(
      wording`the parameters alone take ${(bytes / 1e9).toFixed(1)} GB, over half of this machine's memory ${wording`(measure it with fewer experts, which changes little: ${option('model.moe.experts', '4')})`}`,
    )
  const batch = Math.ceil(MIN_LENGTH / sequence)
  const runtime = await openRuntime(config)
  try {
    const store = new ParameterStore(runtime, specs, null)
    await initialize(store, train.seed, initialScales(config))
    const { traced, probes } = withKernels(runtime.kernels, () => {
      const traced = tracePass(model, store, { batch, sequence, training: false, capacity: 'none' })
      const { stream, loss } = traced.losses
      const gradients = gradient(loss, stream)
      return { traced, probes: stream.map((x_TD, i) => ({ x_TD, dx_TD: gradients[i] ?? x_TD })) }
    })
    const outputs = Object.fromEntries(
      probes.flatMap(({ x_TD, dx_TD }, i) => [
        [`stream ${i}`, x_TD],
        [`stream gradient ${i}`, dx_TD],
      ]),
    )
    const size = batch * sequence * width
    const memory = Object.fromEntries(Object.keys(outputs).map((name) => [name, new Float32Array(size)]))
    const pass = await CompiledPass.compile(runtime, model, traced, outputs, memory)
    try {
      const random = randomFor(train.seed, 'signal')
      const ids = Int32Array.from({ length: TOKENS }, () => random.uint32() % vocabulary)
      const kinds = pass.tokens.map(() => random.uint32() % TOKENS)
      pass.tokens.set(kinds.map((kind) => ids[kind] as number))
      pass.targets.set(pass.targets.map(() => random.uint32() % vocabulary))
      pass.drawChoices(train.seed, 'signal')
      await pass.run()
      const of = (name: string) => memory[name] as Float32Array
      return {
        stream: probes.map((_, depth) => ({
          depth,
          activation: rootMeanSquare(of(`stream ${depth}`)),
          gradient: rootMeanSquare(of(`stream gradient ${depth}`)) * batch * sequence,
          tokenShare: explainedShare(of(`stream ${depth}`), kinds, width),
        })),
        loss: pass.loss,
        uniformLoss: Math.log(vocabulary),
      }
    } finally {
      pass.release()
    }
  } finally {
    await runtime.close()
  }
}

function rootMeanSquare(values: Float32Array): number {
  let squares = 0
  for (const value of values) squares += value * value
  return Math.sqrt(squares / values.length)
}

/**
 * Share of the variance of rows x_TD that is explained by their kind: ε², the R² of an analysis of variance
 * corrected for chance (Kelley 1935): 1 − (SS_within / (T − kinds)) / (SS_total / (T − 1)), summed over the width.
 */
export function explainedShare(x_TD: Float32Array, kind_T: Int32Array, width: number): number {
  const tokens = kind_T.length
  const kinds = Math.max(...kind_T) + 1
  const count = new Float64Array(kinds)
  const sum = new Float64Array(kinds * width)
  let squares = 0
  kind_T.forEach((kind, t) => {
    count[kind] = (count[kind] as number) + 1
    for (let d = 0; d < width; d++) {
      const x = x_TD[t * width + d] as number
      sum[kind * width + d] = (sum[kind * width + d] as number) + x
      squares += x * x
    }
  })
  let [between, all] = [0, 0]
  for (let d = 0; d < width; d++) {
    let total = 0
    for (let kind = 0; kind < kinds; kind++) {
      const own = sum[kind * width + d] as number
      total += own
      if ((count[kind] as number) > 0) between += own ** 2 / (count[kind] as number)
    }
    all += total ** 2 / tokens
  }
  const seen = count.filter((n) => n > 0).length
  const within = (squares - between) / (tokens - seen)
  const total = (squares - all) / (tokens - 1)
  return total > 0 ? Math.max(0, 1 - within / total) : 0
}
