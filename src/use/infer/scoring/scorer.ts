/**
 * Computes the log-probability of every token of many sequences.
 *
 * Think of an evaluation that keeps the loss of each target, over windows of any texts. A program has a fixed shape, so
 * windows are padded to powers of two and share passes with windows of the same length. Experts have no capacity limit,
 * and with `expert-choice` every token takes its top k, as in generation. So attention and routing of a token see
 * neither padding nor other windows, which change a result by float32 rounding only.
 */
import { sequencesOfPass } from '../../../core/config/run-config.ts'
import { UsageError } from '../../../core/errors.ts'
import { ownLayers } from '../../../core/model/own/layer.ts'
import { routerOf } from '../../../core/model/routing/routers.ts'
import { nextTurn } from '../../../core/next-turn.ts'
import type { LiveModel } from '../live-model.ts'
import { ScoringProgram, type ScoringWork, type SequenceScore } from './scoring-program.ts'
import { scoringWindows } from './windows.ts'

/** Most tokens of a pass, unless a single window has more. Larger passes take more memory and are hardly faster. */
const PASS_TOKENS = 2048
/** Shortest window of a program. */
const MIN_LENGTH = 32

/** Tokens of which those from `from` on are scored. */
export interface TokenSequence {
  readonly ids: Int32Array
  /** At least 1: the first token of a sequence has nothing before it. */
  readonly from: number
}

const seesLater = (part: string, id: string | null) =>
  new UsageError(
    `invalid model: its ${part} ${id} uses later tokens (sees: "batch"), so it gives no probabilities of tokens given ` +
      'those before them',
  )

export class Scorer {
  readonly model: Omit<LiveModel, 'step'>
  /** Programs by their shape; most texts of a kind have a few lengths. */
  private readonly programs = new Map<string, ScoringProgram>()

  /** @throws UsageError for a router or a layer of the user's own that sees other tokens of a batch */
  constructor(model: Omit<LiveModel, 'step'>) {
    const { moe, layer } = model.config.model
    if (moe?.router === 'own' && routerOf(moe).sees === 'batch') throw seesLater('router', moe.own)
    if (layer && ownLayers.get(layer.own).sees === 'batch') throw seesLater('layer', layer.own)
    this.model = model
  }

  /**
   * Scores sequences, several in a pass.
   * @param stride Distance of the windows of a sequence that is longer than the context, 1 to `model.sequence` tokens.
   * @param signal Checked before each pass, which throws its reason.
   */
  async score(sequences: readonly TokenSequence[], stride: number, signal?: AbortSignal): Promise<SequenceScore[]> {
    const { sequence } = this.model.config.model
    const byLength = new Map<number, ScoringWork[]>()
    const scores = sequences.map(({ ids, from }): SequenceScore => {
      const count = Math.max(0, ids.length - from)
      const into = { logProbabilities: new Float64Array(count), greedy: new Uint8Array(count) }
      for (const window of scoringWindows(ids.length, from, sequence, stride)) {
        const length = Math.min(sequence, Math.max(MIN_LENGTH, powerOfTwo(window.length)))
        const same = byLength.get(length) ?? []
        same.push({ ids, window, into, at: window.from - from })
        byLength.set(length, same)
      }
      return into
    })
    // The longest come first: the memory of a program serves smaller ones too.
    for (const [length, work] of [...byLength].toSorted(([a], [b]) => b - a)) {
      const rows = Math.min(this.mostRows(length), powerOfTwo(work.length))
      for (let first = 0; first < work.length; first += rows) {
        // A signal can be aborted only in a turn of the event loop.
        await nextTurn()
        signal?.throwIfAborted()
        const program = await this.program(rows, length)
        await program.run(work.slice(first, first + rows))
      }
    }
    return scores
  }

  release(): void {
    for (const program of this.programs.values()) program.release()
    this.programs.clear()
  }

  /** A pass has at most as many tokens as a pass of an evaluation, or one window. */
  private mostRows(length: number): number {
    const { config } = this.model
    const tokens = Math.min(PASS_TOKENS, sequencesOfPass(config) * config.model.sequence)
    return Math.max(1, Math.floor(tokens / length))
  }

  private async program(rows: number, length: number): Promise<ScoringProgram> {
    const key = `${rows} ${length}`
    const program = this.programs.get(key) ?? (await ScoringProgram.compile(this.model, rows, length))
    this.programs.set(key, program)
    return program
  }
}

/** The smallest power of two that is at least `least`. */
const powerOfTwo = (least: number): number => 2 ** Math.ceil(Math.log2(least))
