/**
 * Exports a checkpoint of a run to a format of other programs: prepares the files, writes them under a hidden name,
 * reads them back, measures how the loss changes without a capacity, and only then gives the folder its name.
 */
import { join } from 'node:path'
import { type RunConfig, sequencesOfPass } from '../../../core/config/run-config.ts'
import { RunError, UsageError } from '../../../core/errors.ts'
import type { ModelConfig } from '../../../core/model/config.ts'
import { describeModel } from '../../../core/model/describe.ts'
import { randomFor } from '../../../core/random.ts'
import { loadRunConfig } from '../../../node/run/load-config.ts'
import { checkIsFree, NewFolder } from '../../../node/run/new-folder.ts'
import type { OnMessage } from '../../../train/run/messages.ts'
import type { EvalRecord } from '../../../train/step/metrics/records.ts'
import { balanceSchedule } from '../../../train/step/optimizer/schedule.ts'
import { ParameterStore } from '../../../train/step/store/store.ts'
import { evaluateModel } from '../../runs/evaluate.ts'
import { loadModel, type ModelChoice, type TrainedModel } from '../../runs/trained-model.ts'
import type { ExportDtype, ExportFormat, Format, PreparedExport } from './contract.ts'
import { ggufFormat } from './gguf/format.ts'
import { hfFormat } from './hf/format.ts'
import { largestDifference, ownLogits } from './logits.ts'
import { onnxFormat } from './onnx/format.ts'
import { type ExportReport, type HeldOutLoss, type LogitCheck, type Missing, modelCard } from './report.ts'
import { textFile } from './text-files.ts'
import { weightsOf } from './weights.ts'

export interface ExportOptions extends Pick<ModelChoice, 'checkpoint' | 'threads'> {
  readonly format: ExportFormat
  /** Folder to write, new or empty. Default: `export/FORMAT` in the run directory. */
  readonly out?: string
  /** Type of the stored weights; default: float32. */
  readonly dtype?: ExportDtype
  readonly signal?: AbortSignal
  readonly onMessage?: OnMessage
}

const formats: Readonly<Record<ExportFormat, Format>> = { hf: hfFormat, onnx: onnxFormat, gguf: ggufFormat }

/** Maximum number of tokens that are read back. */
const MAX_TOKENS = 32

/** Largest accepted difference of float32 logits, as a share of the largest logit, or of 1 if that is larger. */
const TOLERANCE = 1e-3

/**
 * Exports a checkpoint of the run in a directory. After an error nothing is left behind.
 * @throws UsageError if the format cannot hold the model, with the setting, or the folder is not empty; RunError if the
 * files do not give the same logits
 */
export async function exportRun(directory: string, options: ExportOptions): Promise<ExportReport> {
  const { format, dtype = 'float32', signal, onMessage = () => {} } = options
  const out = options.out ?? join(directory, 'export', format)
  const { check, prepare } = formats[format]
  const { model } = await loadRunConfig(directory)
  await checkIsFree(out)
  checkGenerates(model)
  check(model, dtype)
  const { checkpoint, threads } = options
  const choice: ModelChoice = {
    device: 'cpu',
    math: 'float32',
    ...(checkpoint !== undefined && { checkpoint }),
    ...(threads !== undefined && { threads }),
  }
  // The folder is made before the model is loaded, so that a place that cannot be written is reported at once.
  const folder = await NewFolder.begin(out)
  try {
    const trained = await loadModel(directory, choice, onMessage)
    try {
      const { config, store, tokenizer, runtime, step } = trained
      if (!(store instanceof ParameterStore)) throw new Error('internal: an export of rounded weights')
      const source = { config: withBalanceAt(config, step), weights: weightsOf(store), tokenizer, runtime, dtype }
      const prepared = await prepare(source)
      onMessage({ kind: 'prepare', message: `writing ${prepared.files.length} files` })
      await folder.write(prepared.files, signal)
      onMessage({ kind: 'prepare', message: 'reading them back' })
      const logits = await checkLogits(prepared, folder.path, trained, dtype)
      signal?.throwIfAborted()
      onMessage({ kind: 'prepare', message: 'measuring the loss without a capacity' })
      const heldOut = await heldOutLoss(trained)
      signal?.throwIfAborted()
      const { parameters, activeParameters } = describeModel(config.model)
      const report: Omit<ExportReport, 'files'> = {
        kind: 'export',
        format,
        dtype,
        out,
        step,
        architecture: prepared.architecture,
        reason: prepared.reason,
        parameters,
        active_parameters: activeParameters,
        logits,
        held_out: heldOut,
      }
      const card = textFile('README.md', modelCard(report, config, prepared.usage))
      await folder.write([card], signal)
      await folder.finish()
      return { ...report, files: [...prepared.files, card].map(({ name, bytes }) => ({ name, bytes })) }
    } finally {
      await trained.close()
    }
  } catch (error) {
    await folder.discard()
    throw error
  }
}

/**
 * Refuses models that no format can hold, because they do not generate text token by token as they were trained.
 * @throws UsageError if the experts of a token are not a function of the tokens up to it
 */
export function checkGenerates({ moe, layer }: Pick<ModelConfig, 'moe' | 'layer'>): void {
  if (layer)
    throw new UsageError(
      `cannot export a model with the layer ${layer.own}: no format holds a layer of your own (train without model.layer)`,
    )
  if (moe?.router === 'own')
    throw new UsageError(
      `cannot export a model with the router ${moe.own}: no format holds a router of your own (train with a built-in router)`,
    )
  if (moe?.router === 'random')
    throw new UsageError(
      'cannot export a model with router "random": no format draws the experts of each token at random ' +
        '(train with router "hash", which is as blind and always the same)',
    )
  if (moe?.router === 'expert-choice')
    throw new UsageError(
      'cannot export a model with router "expert-choice": its experts choose among all tokens of a batch, later ones ' +
        'too, which no format does (train with router "top-k")',
    )
}

/**
 * The configuration with the coefficient of the balancing loss that the checkpoint of a step was trained with last, so
 * that further training of the exported model continues with it. The weights of step 0 get the coefficient of step 1.
 */
function withBalanceAt(config: RunConfig, step: number): RunConfig {
  const coefficient = balanceSchedule(config)?.(Math.max(1, step))
  const { moe } = config.model
  if (!moe || coefficient === undefined) return config
  return { ...config, model: { ...config.model, moe: { ...moe, balance: { ...moe.balance, coefficient } } } }
}

async function checkLogits(
  { readBack }: PreparedExport,
  folder: string,
  { runtime, config: { model }, store, tokenizer }: TrainedModel,
  dtype: ExportDtype,
): Promise<LogitCheck | Missing> {
  const random = randomFor(0, 'export')
  const count = Math.min(model.sequence, MAX_TOKENS)
  const tokens = Int32Array.from({ length: count }, () => random.integer(tokenizer.vocabulary))
  const found = await readBack(folder, tokens)
  if ('missing' in found) return found
  const own = await ownLogits(runtime, model, store, tokens)
  const difference = largestDifference(own, found.logits)
  const largest = own.reduce((most, logit) => Math.max(most, Math.abs(logit)), 0)
  if (Number.isNaN(difference) || (dtype === 'float32' && difference > TOLERANCE * Math.max(1, largest)))
    throw new RunError(
      `the exported files give other logits than the run: by ${found.reader} they differ by ${difference}, and the ` +
        `largest is ${largest}; nothing was written. This is an error of choir: please report it`,
    )
  return { reader: found.reader, tokens: count, largest_difference: difference, largest_logit: largest }
}

/** Products of a parameter and a token that are computed to measure the loss of an export. */
const MAX_LOSS_PRODUCTS = 1e12
/** Maximum number of batches of held-out text, which is enough to see what a capacity changes. */
const MAX_BATCHES = 50

/** Number of batches of held-out text: fewer for a large model, so that measuring takes less time than writing. */
const batchesToMeasure = (config: RunConfig): number => {
  const tokens = sequencesOfPass(config) * config.model.sequence
  const most = Math.floor(MAX_LOSS_PRODUCTS / (tokens * describeModel(config.model).activeParameters))
  return Math.max(1, Math.min(MAX_BATCHES, most))
}

async function heldOutLoss(trained: TrainedModel): Promise<HeldOutLoss | Missing> {
  const { model } = trained.config
  let record: EvalRecord
  try {
    record = await evaluateModel(trained, { capacity: 'none', batches: batchesToMeasure(trained.config) })
  } catch (error) {
    // The advice at the end of the message, in brackets, is for evaluations.
    return { missing: (error as Error).message.replace(/ \([^()]*\)$/, '') }
  }
  const { train: atTraining, eval: atEvaluation, none } = record.capacities
  const hasCapacity = model.moe !== null && model.moe.capacity !== 'none'
  return {
    tokens: record.evaluated_tokens,
    dropless: none.loss,
    as_trained: hasCapacity ? { train: atTraining.loss, eval: atEvaluation.loss } : null,
  }
}
