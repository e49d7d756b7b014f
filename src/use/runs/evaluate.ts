/** Evaluates a model, a run or a model of another library, on its held-out text or on other text. */
import { formatValue } from '../../core/config/problems.ts'
import { sequencesOfPass } from '../../core/config/run-config.ts'
import { option, UsageError, wording } from '../../core/errors.ts'
import type { CapacityRule } from '../../core/model/routing/contract.ts'
import { openRunData } from '../../node/run/session.ts'
import { groupDocuments } from '../../train/data/document-groups.ts'
import { separatorOf } from '../../train/data/first-visible.ts'
import type { OnMessage } from '../../train/run/messages.ts'
import { runNotices } from '../../train/run/notices.ts'
import { importedData } from '../../train/run/run-state.ts'
import { configForCapacity } from '../../train/step/capacity-rules.ts'
import { type EvaluationResult, Evaluator } from '../../train/step/evaluation.ts'
import type { EvalRecord } from '../../train/step/records.ts'
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
  { directory, runtime, config, tokenizer, store, step, trainedOn }: TrainedModel,
  options: Omit<EvaluateOptions, keyof ModelChoice>,
): Promise<EvalRecord> {
  const onMessage = options.onMessage ?? (() => {})
  const { source = config.data.source, capacity = 'none', signal } = options
  if (options.source === undefined && trainedOn === importedData)
    throw new UsageError(
      wording`no held-out text: the model in ${formatValue(directory)} was trained elsewhere (name the text to evaluate on: ${option('source', 'sotu')})`,
    )
  const onProgress = (message: string) => onMessage({ kind: 'prepare', message })
  const onNotice = (message: string) => onMessage({ kind: 'notice', message })
  const data = await openRunData(
    { ...config, data: { ...config.data, source } },
    { directory, tokenizer, onProgress, onNotice, holdOutAll: options.source !== undefined },
  )
  if (options.source === undefined && data.hash !== trainedOn) {
    const message = 'the text has changed since the run was trained: text that is held out now may have been trained on'
    onMessage({ kind: 'warning', message })
  }
  try {
    const evaluated = { ...config, model: configForCapacity(config.model, capacity) }
    for (const message of runNotices(runtime, evaluated, [{ activity: 'evaluation', rule: capacity }]))
      onNotice(message)
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
