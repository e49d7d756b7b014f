/** The report of an export, which is printed, and written into the model card. */
import type { CapacityRule } from '../../../core/model/routing/contract.ts'
import type { ExportDtype, ExportFormat } from './contract.ts'

export interface ExportReport {
  readonly kind: 'export'
  readonly format: ExportFormat
  readonly dtype: ExportDtype
  readonly out: string
  /** Number of steps that the model was trained. */
  readonly step: number
  readonly architecture: string
  readonly reason: string
  readonly files: readonly { readonly name: string; readonly bytes: number }[]
  readonly parameters: number
  readonly active_parameters: number
  readonly logits: LogitCheck | Missing
  readonly held_out: HeldOutLoss | Missing
}

/** Comparison of logits from the files, read back and run on random tokens, with Choir's own logits of the model. */
export interface LogitCheck {
  readonly reader: string
  readonly tokens: number
  readonly largest_difference: number
  /** Largest |logit| of Choir's own logits. */
  readonly largest_logit: number
}

/** Cross-entropy of held-out text, nats per token. */
export interface HeldOutLoss {
  readonly tokens: number
  /** Loss of the model as it is exported: nothing is dropped. */
  readonly dropless: number
  /** Losses under the capacities of training and of evaluation; null for a model whose experts have no capacity. */
  readonly as_trained: Readonly<Record<Exclude<CapacityRule, 'none'>, number>> | null
}

export interface Missing {
  readonly missing: string
}
