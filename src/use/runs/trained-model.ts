/** Loads a trained model from its run: configuration, tokenizer, and parameters in the memory of a runtime. */
import { join } from 'node:path'
import type { RunConfig } from '../../core/config/run-config.ts'
import { UsageError } from '../../core/errors.ts'
import type { ModelConfig } from '../../core/model/config.ts'
import { parameterSpecs } from '../../core/model/parameters.ts'
import type { Precision, Runtime } from '../../engine/contract/runtime.ts'
import { tokenizerFromJson } from '../../node/data/tokenizer/native-tokenizer.ts'
import { readCheckpointOf, readNewestCheckpoint } from '../../node/run/checkpoint/checkpoint.ts'
import { loadRunConfig } from '../../node/run/load-config.ts'
import { openRuntime } from '../../node/run/session.ts'
import { readTextRules, readTokenizer } from '../../node/run/tokenizer-file.ts'
import type { OnMessage } from '../../train/run/messages.ts'
import { expectSettings } from '../../train/run/resume-settings.ts'
import { expectTokenizer, parseState } from '../../train/run/run-state.ts'
import type { ModelStore } from '../../train/step/model-store.ts'
import { type NamedTensor, parameterTensors } from '../../train/step/named-tensors.ts'
import { ParameterStore } from '../../train/step/store.ts'
import type { LiveModel } from '../infer/live-model.ts'
import { expectQuantized, QuantizedStore } from '../infer/quantized/quantized-store.ts'
import type { QuantizedFormat, WeightFormat } from '../infer/quantized/weight-format.ts'

export interface TrainedModel extends LiveModel {
  /** Directory of the run. */
  readonly directory: string
  /** The `Dataset.hash` of its training data. */
  readonly trainedOn: string
  /** Closes the runtime. */
  close(): Promise<void>
}

/** Settings that replace the runtime settings of the run. */
export interface RuntimeOverrides {
  readonly device?: 'cpu' | 'webgpu'
  readonly threads?: number
  readonly math?: Precision
}

/** Which model of a run is loaded, and how it is computed. */
export interface ModelChoice extends RuntimeOverrides {
  /** Step of the checkpoint. Default: the newest intact checkpoint. */
  readonly checkpoint?: number
  /**
   * Format of the weights; default: `float32`. With `int8` the matrices are rounded by groups of 64 weights, with `int4`
   * by groups of 32. They are then the only copy, and one text is generated about three times as fast. Both are for the
   * CPU only, and not for experts in attention.
   */
  readonly weights?: WeightFormat
}

/**
 * Loads a checkpoint of a run; the caller must close the model.
 * @param scratchOf Returns the size of scratch memory in the store, in floats.
 * @throws UsageError if there is no run or no such checkpoint; RunError if the requested checkpoint is damaged
 */
export async function loadModel(
  directory: string,
  { device, threads, math, checkpoint, weights = 'float32' }: ModelChoice,
  onMessage: OnMessage,
  scratchOf: (config: RunConfig['model']) => number = () => 0,
): Promise<TrainedModel> {
  const sets: string[] = []
  if (device !== undefined) sets.push(`runtime.device=${device}`)
  if (threads !== undefined) sets.push(`runtime.threads=${threads}`)
  if (math !== undefined) sets.push(`runtime.math=${math}`)
  const config = await loadRunConfig(directory, sets)
  const runtime = await openRuntime(config)
  try {
    if (weights !== 'float32') expectQuantized(weights, runtime, config.model)
    const scratch = scratchOf(config.model)
    const [store, model] =
      weights === 'float32'
        ? floatModel(runtime, config.model, scratch)
        : quantizedModel(runtime, config.model, weights, scratch)
    const checkpoints = join(directory, 'checkpoints')
    const warn = (path: string, reason: string) =>
      onMessage({ kind: 'warning', message: `skipping checkpoint ${path}: ${reason}` })
    const found =
      checkpoint === undefined
        ? await readNewestCheckpoint(checkpoints, { model }, warn)
        : await readCheckpointOf(checkpoints, checkpoint, { model })
    if (!found)
      throw new UsageError(
        `invalid run: "${directory}" has no checkpoint yet (train it, or wait for its first checkpoint)`,
      )
    const state = parseState(found.state, found.path)
    const json = await readTokenizer(directory)
    await expectTokenizer(state, json, directory)
    expectSettings(state.settings, sets.length === 0 ? config : await loadRunConfig(directory), directory)
    const tokenizer = tokenizerFromJson(json, join(directory, 'tokenizer.json'), await readTextRules(directory))
    const { step } = found
    const trainedOn = state.data
    const close = () => runtime.close()
    return { directory, runtime, config, tokenizer, store, step, trainedOn, close }
  } catch (error) {
    await runtime.close()
    throw error
  }
}

type Loading = readonly [store: ModelStore, tensors: NamedTensor[]]

function floatModel(runtime: Runtime, config: ModelConfig, scratch: number): Loading {
  const store = new ParameterStore(runtime, parameterSpecs(config), null, scratch)
  return [store, parameterTensors(store)]
}

function quantizedModel(runtime: Runtime, config: ModelConfig, format: QuantizedFormat, scratch: number): Loading {
  const store = new QuantizedStore(runtime, config, format, scratch)
  return [store, store.tensors()]
}
