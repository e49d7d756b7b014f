/**
 * A program that scores windows of tokens. It is the pass of an evaluation, dropless, which also outputs the loss of
 * each target and whether the target was the most probable token. It has no logits beyond those of an evaluation.
 */
import type { RunConfig } from '../../../core/config/run-config.ts'
import { withKernels } from '../../../core/graph/tensor.ts'
import { activatedExperts, type RoutedModule } from '../../../core/model/config/moe-config.ts'
import { routedModules } from '../../../core/model/parameters.ts'
import { choicesName } from '../../../core/model/transformer.ts'
import { separatorOf } from '../../../train/data/first-visible.ts'
import { generationConfig } from '../../../train/step/evaluation/capacity-rules.ts'
import { CompiledPass, tokenLossesName, tracePass } from '../../../train/step/passes/pass.ts'
import { PredeterminedExperts } from '../generation/predetermined-experts.ts'
import type { LiveModel } from '../live-model.ts'
import type { ScoringWindow } from './windows.ts'

/** Scores of consecutive tokens of a sequence. */
export interface SequenceScore {
  /** The logarithm of the probability of each token given the tokens before it, nats. */
  readonly logProbabilities: Float64Array
  /** 1 if no token was more probable than the token, otherwise 0. */
  readonly greedy: Uint8Array
}

/** A window of a sequence, and where the scores of its tokens go. */
export interface ScoringWork {
  readonly ids: Int32Array
  readonly window: ScoringWindow
  readonly into: SequenceScore
  /** Index in `into` of the first token that the window scores. */
  readonly at: number
}

/** The experts [T, K] of a module, which are an input of the program if the router is random. */
interface GivenExperts {
  readonly layer: number
  readonly module: RoutedModule
  readonly choices_TK: Int32Array
}

const greedyName = 'greedy'

export class ScoringProgram {
  private readonly pass: CompiledPass
  private readonly length: number
  private readonly greedy_T: Int32Array
  private readonly given: readonly GivenExperts[]
  private readonly experts: PredeterminedExperts

  private constructor(
    pass: CompiledPass,
    length: number,
    greedy_T: Int32Array,
    given: readonly GivenExperts[],
    experts: PredeterminedExperts,
  ) {
    this.pass = pass
    this.length = length
    this.greedy_T = greedy_T
    this.given = given
    this.experts = experts
  }

  /**
   * @param rows Number of windows of a pass.
   * @param length Number of tokens of each, at most `model.sequence`.
   */
  static async compile(model: Omit<LiveModel, 'step'>, rows: number, length: number): Promise<ScoringProgram> {
    const { runtime, store, tokenizer, config } = model
    const used = generationConfig(config.model)
    const pass = { batch: rows, sequence: length, training: false, capacity: 'none' } as const
    const traced = withKernels(runtime.kernels, () => tracePass(used, store, pass, separatorOf(config.data, tokenizer)))
    const { loss_T, greedy_T } = traced.losses
    const greedy = new Int32Array(rows * length)
    const given = givenExperts(used, rows * length)
    const shared = Object.fromEntries(
      given.map(({ layer, module, choices_TK }) => [choicesName(layer, module), choices_TK]),
    )
    const compiled = await CompiledPass.compile(
      runtime,
      used,
      traced,
      { [tokenLossesName]: loss_T, [greedyName]: greedy_T },
      { ...shared, [greedyName]: greedy },
    )
    return new ScoringProgram(compiled, length, greedy, given, new PredeterminedExperts(used, config.train.seed))
  }

  /** Scores windows, at most as many as the program has rows. */
  async run(work: readonly ScoringWork[]): Promise<void> {
    const { pass, length, greedy_T } = this
    // The end of a row and unused rows hold token 0, which no scored token sees.
    pass.tokens.fill(0)
    pass.targets.fill(-1)
    for (const [row, { ids, window }] of work.entries()) {
      const { start, from, to } = window
      pass.tokens.set(ids.subarray(start, start + window.length), row * length)
      pass.targets.set(ids.subarray(from, to), row * length + from - 1 - start)
    }
    this.chooseExperts(work)
    await pass.run()
    for (const [row, { window, into, at }] of work.entries()) {
      const { start, from, to } = window
      const place = row * length + from - 1 - start
      for (let i = 0; i < to - from; i++) {
        into.logProbabilities[at + i] = -(pass.tokenLosses[place + i] as number)
        into.greedy[at + i] = greedy_T[place + i] as number
      }
    }
  }

  /** Draws the experts of a random router: by the position in the text as in generation, so not by the batch. */
  private chooseExperts(work: readonly ScoringWork[]): void {
    const { pass, length, experts } = this
    for (const { layer, module, choices_TK } of this.given) {
      const count = choices_TK.length / pass.tokens.length
      for (let t = 0; t < pass.tokens.length; t++) {
        experts.offset = work[Math.floor(t / length)]?.window.start ?? 0
        const chosen_K = choices_TK.subarray(t * count, (t + 1) * count)
        experts.choose(layer, pass.tokens[t] as number, t % length, chosen_K, module)
      }
    }
  }

  release(): void {
    this.pass.release()
  }
}

function givenExperts(config: RunConfig['model'], tokens: number): GivenExperts[] {
  const { moe, layers } = config
  if (moe?.router !== 'random') return []
  const size = tokens * activatedExperts(moe)
  return Array.from({ length: layers }, (_, layer) =>
    routedModules(config, layer).map((module) => ({ layer, module, choices_TK: new Int32Array(size) })),
  ).flat()
}
