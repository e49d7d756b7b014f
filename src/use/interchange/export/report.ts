/** The report of an export, which is printed, and its text as the README.md of the exported model. */
import type { RunConfig } from '../../../core/config/run-config.ts'
import type { CapacityRule } from '../../../core/model/routing/contract.ts'
import { count, fixed, grouped } from '../../../core/text/numbers.ts'
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

const libraries: Readonly<Record<ExportFormat, string>> = { hf: 'transformers', onnx: 'transformers.js', gguf: 'gguf' }

/** README.md: a description of the model, its measured numbers, and how to load it. */
export function modelCard(
  report: Omit<ExportReport, 'files'>,
  { model, train, data }: RunConfig,
  usage: string,
): string {
  const tokens = report.step * train.batch * model.sequence
  const { moe } = model
  const rows: readonly (readonly [string, string])[] = [
    ['architecture', report.architecture],
    ['parameters', `${count(report.parameters)}, ${count(report.active_parameters)} active for a token`],
    ['layers', `${model.layers} of width ${model.width}, ${model.heads} heads`],
    ['experts', moe ? `${moe.experts} of ${moe.hidden} a layer, router ${moe.router}, k ${moe.k}` : 'none'],
    ['longest text', `${grouped(model.sequence)} tokens`],
    ['vocabulary', grouped(model.vocabulary)],
    ['trained', `${grouped(report.step)} steps, ${count(tokens)} tokens`],
    ['text', [data.source].flat().join(', ')],
    ['held-out loss', lossText(report.held_out)],
    ['stored as', report.dtype],
    ['checked', checkText(report.logits)],
  ]
  return `---
library_name: ${libraries[report.format]}
pipeline_tag: text-generation
tags: [choir, ${moe ? 'mixture-of-experts' : 'dense'}]
---

# A language model trained with Choir

| | |
|---|---|
${rows.map(([label, value]) => `| ${label} | ${value.replaceAll('|', '\\|')} |`).join('\n')}

Chosen because ${report.reason}.

## Use

${usage}`
}

/** Text like `3.1415 nats a token dropless, as exported (3.1401 at the training capacity, 3.1410 at that of ...)`. */
export function lossText(loss: HeldOutLoss | Missing): string {
  if ('missing' in loss) return `not measured: ${loss.missing}`
  const { dropless, as_trained: trained, tokens } = loss
  const text = `${fixed(dropless, 4)} nats a token`
  if (!trained) return `${text} on ${count(tokens)} tokens; nothing is dropped here either`
  const changes = [
    `${fixed(trained.train, 4)} at the training capacity`,
    `${fixed(trained.eval, 4)} at that of evaluations`,
  ]
  return `${text} dropless, as exported (${changes.join(', ')}; on ${count(tokens)} tokens)`
}

export const checkText = (check: LogitCheck | Missing): string =>
  'missing' in check
    ? `not read back: ${check.missing}`
    : `largest logit difference ${check.largest_difference === 0 ? 0 : check.largest_difference.toExponential(1)} on ${check.tokens} tokens, by ${check.reader} ` +
      `(largest logit ${fixed(check.largest_logit, 2)})`
