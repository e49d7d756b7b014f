/** Evaluates a model, a run or a model of another library, on its held-out text or on other text. */
import { sequencesOfPass } from '../../core/config/run-config.ts'
import type { CapacityRule } from '../../core/model/routing/contract.ts'
import { groupDocuments } from '../../train/data/document-groups.ts'
import { separatorOf } from '../../train/data/first-visible.ts'
import type { OnMessage } from '../../train/run/messages.ts'
import { runNotices } from '../../train/run/notices.ts'
import { configForCapacity } from '../../train/step/evaluation/capacity-rules.ts'
import { type EvaluationResult, Evaluator } from '../../train/step/evaluation/evaluation.ts'
import type { EvalRecord } from '../../train/step/metrics/records.ts'
import { openEvaluationText } from './evaluation-text.ts'
import { loadModel, type ModelChoice, type TrainedModel } from './trained-model.ts'

export interface EvaluateOptions extends ModelChoice {
  /** Other text, all of which is evaluated. Default: the held-out text of the run. */
  readonly source?: string | string[]
  /** Maximum number of batches; default: all. */
  readonly batches?: number
  /** Capacity rule of the record's loss. Default: `none`, so that the loss of a text is independent of other texts. */
  readonly capacity?: CapacityRule
  /** Whether losses by groups of documents are added to the record. */
  readonly byDocument?: boolean
  /** When it is aborted, the evaluation ends before the next batch with the reason of the signal. */
  readonly signal?: AbortSignal
  readonly onMessage?: OnMessage
}

/**
 * The loss of a checkpoint of a run, or of a model of another library, on held-out text, under every capacity rule; also
 * by domain if the text has several domains.
 */
export async function evaluateRun(directory: string, options: EvaluateOptions = {}): Promise<EvalRecord> {
  const onMessage = options.onMessage ?? (() => {})
  const trained = await loadModel(directory, options, onMessage)
  try {
    return await evaluateModel(trained, { ...options, onMessage })
  } finally {
    await trained.close()
  }
}

/** Evaluates as {@link evaluateRun} does, with a model that is loaded already. */
export async function evaluateModel(
  trained: TrainedModel,
  options: Omit<EvaluateOptions, keyof ModelChoice>,
): Promise<EvalRecord> {
  const { runtime, config, tokenizer, store, step } = trained
  const onMessage = options.onMessage ?? (() => {})
  const { capacity = 'none', signal } = options
  const data = await openEvaluationText(trained, options.source, options)
  try {
    const evaluated = { ...config, model: configForCapacity(config.model, capacity) }
    for (const message of runNotices(runtime, evaluated, [{ activity: 'evaluation', rule: capacity }]))
      onMessage({ kind: 'notice', message })
    const { batch, seed } = config.train
    const separator = separatorOf(config.data, tokenizer)
    const evaluator = await Evaluator.compile(runtime, config.model, store, sequencesOfPass(config), seed, separator)
    try {
      const groups = await groupDocuments(data)
      const isStopped = async () => signal?.aborted === true
      const result = await evaluator.run(data, capacity, options.batches, groups, isStopped)
      signal?.throwIfAborted()
      const { documents, ...record } = (result as EvaluationResult).evaluation
      const tokens = step * batch * config.model.sequence
      return { kind: 'eval', step, tokens, ...record, ...(documents && options.byDocument && { documents }) }
    } finally {
      evaluator.release()
    }
  } finally {
    await data.close()
  }
}
