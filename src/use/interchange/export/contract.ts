/**
 * What the formats of an export have in common.
 *
 * A format is a function from a trained model to what is written: which architecture the model is in this format and why, which
 * files to write, and how to read them back. It refuses a model that the format cannot hold with a `UsageError` that
 * names the setting. Nothing is written before all of it is known.
 */
import type { RunConfig } from '../../../core/config/run-config.ts'
import type { ModelConfig } from '../../../core/model/config.ts'
import type { Runtime } from '../../../engine/contract/runtime.ts'
import type { Tokenizer } from '../../../train/data/tokenizer/tokenizer.ts'
import type { OutputFile } from '../../../train/run/checkpoint/safetensors.ts'
import type { Weights } from './weights.ts'

/** In the order of the documentation. */
export const exportFormats = ['hf', 'onnx', 'gguf'] as const
export type ExportFormat = (typeof exportFormats)[number]

/** How weights are stored. */
export const exportDtypes = ['float32', 'bf16', 'f16'] as const
export type ExportDtype = (typeof exportDtypes)[number]

export interface ExportSource {
  readonly config: RunConfig
  readonly weights: Weights
  readonly tokenizer: Tokenizer
  readonly runtime: Runtime
  readonly dtype: ExportDtype
}

export interface PreparedExport {
  /** In the terms of the format, such as `OlmoeForCausalLM`. */
  readonly architecture: string
  /** Why this one: a sentence. */
  readonly reason: string
  /** Names are relative to the folder of the export and may have folders of their own. */
  readonly files: readonly OutputFile[]
  /** How programs load it, as the text of a model card. */
  readonly usage: string
  /** Computes logits [T, V] of one sequence from the written files. */
  readonly readBack: (folder: string, tokens: Int32Array) => Promise<ReadBack>
}

/** Logits by a reader that is not the writer; or the reason why there are none. */
export type ReadBack = { readonly reader: string; readonly logits: Float32Array } | { readonly missing: string }

/** Checks a configuration, without the weights. @throws UsageError naming the setting that the format cannot hold */
export type CheckModel = (model: ModelConfig, dtype: ExportDtype) => void

export interface Format {
  readonly check: CheckModel
  prepare(source: ExportSource): Promise<PreparedExport>
}
