/** Loads a trained model: configuration, tokenizer, and parameters in the memory of a runtime. */
import type { RunConfig } from '../../core/config/run-config.ts'
import { parameterSpecs } from '../../core/model/parameters.ts'
import type { Precision } from '../../engine/contract/runtime.ts'
import { openRuntime } from '../../node/run/session.ts'
import type { OnMessage } from '../../train/run/messages.ts'
import { type NamedTensor, parameterTensors } from '../../train/step/store/named-tensors.ts'
import { ParameterStore } from '../../train/step/store/store.ts'
import type { LiveModel } from '../infer/live-model.ts'
import { expectQuantized, QuantizedStore } from '../infer/quantized/quantized-store.ts'
import type { WeightFormat } from '../infer/quantized/weight-format.ts'
import { loadRounded } from './rounded-weights.ts'
import { findModel, type LoadedParts } from './stored-model.ts'

export interface TrainedModel extends LiveModel, LoadedParts {
  /** Directory of the run, or of the files of another library. */
  readonly directory: string
  readonly weights: WeightFormat
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
   * Format of the weights; default: `float32`. With `bf16` every weight of a matrix is rounded, with `int8` matrices are
   * rounded by groups of 64 weights, with `int4` by groups of 32. They are then the only copy, and one text is generated
   * faster. These formats are for the CPU only, and not for experts in attention.
   */
  readonly weights?: WeightFormat
  /**
   * Whether the rounded weights of a large model that is not a run are kept beside its files, for example in the folder
   * `choir-int8` of its folder, where the next start reads them; default: true.
   */
  readonly copy?: boolean
}

/**
 * Loads a checkpoint of a run, or a model in a folder in Hugging Face's layout or in a GGUF file; the caller must close the model.
 * @param signal When it is aborted, loading ends with its reason: at once for a model of another library.
 * @param scratchOf Returns the size of scratch memory in the store, in floats.
 * @throws UsageError if there is no model or no such checkpoint; RunError if the model or the requested checkpoint is
 * damaged
 */
export async function loadModel(
  directory: string,
  {
    device,
    threads,
    math,
    checkpoint,
    weights = 'float32',
    copy,
    signal,
  }: ModelChoice & { readonly signal?: AbortSignal },
  onMessage: OnMessage,
  scratchOf: (config: RunConfig['model']) => number = () => 0,
): Promise<TrainedModel> {
  const given = Object.entries({ device, threads, math }).filter(([, value]) => value !== undefined)
  const found = await findModel(directory, Object.fromEntries(given), checkpoint, onMessage)
  const { config } = found
  const runtime = await openRuntime(config)
  const close = () => runtime.close()
  try {
    const scratch = scratchOf(config.model)
    if (weights === 'float32') {
      const store = new ParameterStore(runtime, parameterSpecs(config.model), null, scratch)
      const loaded = await found.load(parameterTensors(store), signal)
      return { directory, weights, runtime, config, store, ...loaded, close }
    }
    expectQuantized(weights, runtime, config.model)
    const store = new QuantizedStore(runtime, config.model, weights, scratch)
    const { files } = found
    const load = (tensors: readonly NamedTensor[]) => found.load(tensors, signal)
    const loaded =
      files === null ? await load(store.tensors()) : await loadRounded(store, load, { files, copy, signal, onMessage })
    return { directory, weights, runtime, config, store, ...loaded, close }
  } catch (error) {
    await close()
    throw error
  }
}
