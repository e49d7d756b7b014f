/**
 * The data of a shared page (`choir watch --share`): all that web/share shows of a run, as JSON in the page. It names
 * no folder of the machine on which it was made.
 */
import type { RoutingHistory, RoutingIndex, RunState } from '../api.ts'

export const momentKinds = ['death', 'overload', 'loss', 'recovery', 'drops'] as const
export type MomentKind = (typeof momentKinds)[number]

/** Something notable that was measured, and that lasted. `moment-rules.ts` has the thresholds. */
export interface Moment {
  readonly kind: MomentKind
  /** The step at which it begins. */
  readonly step: number
  /** Index of the router in RoutingIndex.routers; null for a moment of the whole run. */
  readonly router: number | null
  readonly experts: readonly number[]
  /** `Expert 1 of layer 2 takes twice its share` */
  readonly text: string
  /** `up to 3.6 times, at step 160, and until the end` */
  readonly detail: string
}

/** The experts of one text at one checkpoint. */
export interface SentenceTrace {
  readonly step: number
  /** Cross-entropy of the text, in nats per token. */
  readonly loss: number | null
  /** Experts of each router, of shape [tokens][choices]. */
  readonly experts: readonly (readonly number[])[]
}

/** A text at several checkpoints; `routers` are those of the model, in the order of `experts`. */
export interface Sentence {
  /** Name of the held-out document that begins with the text. */
  readonly title: string
  readonly tokens: readonly string[]
  readonly routers: readonly SentenceRouter[]
  readonly traces: readonly SentenceTrace[]
  /** Steps whose checkpoints could not be computed, and why. */
  readonly failed: readonly { readonly step: number; readonly reason: string }[]
}

export interface SentenceRouter {
  readonly layer: number
  readonly module: string
  readonly experts: number
  readonly prototypes: number
  readonly choices: number
}

export interface SharedRun {
  readonly version: 1
  readonly name: string
  readonly state: RunState
  /** Why the run failed, or what could not be read. */
  readonly note: string | null
  readonly step: number
  readonly steps: number | null
  /** Settings in plain words, such as `['Experts', '8 in each of 3 layers']`. */
  readonly facts: readonly (readonly [name: string, value: string])[]
  readonly index: Pick<RoutingIndex, 'routers' | 'experts' | 'steps' | 'of'>
  /** Loads of shape [snapshots][routers][2][experts], as `packLoads` (snapshots.ts) packs them. */
  readonly loads: string
  /** Drop rate of each router at each snapshot. */
  readonly dropRates: readonly RoutingHistory['drop_rate'][]
  readonly moments: readonly Moment[]
  /** Number of moments that were found; the most notable are in `moments`. */
  readonly found: number
  readonly rules: readonly string[]
  /** Held-out losses in nats per token; empty without an evaluation. */
  readonly heldOut: { readonly step: readonly number[]; readonly loss: readonly (number | null)[] }
  /** Number of tokens of the last evaluation, if it was on a part of the held-out text. */
  readonly heldOutPart: number | null
  /** The text in the colours of its experts, or the reason why there is none. */
  readonly sentence: Sentence | { readonly reason: string }
}
