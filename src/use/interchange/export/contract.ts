/**
 * The contract of the formats of an export.
 *
 * A format prepares the export of a trained model: it determines which architecture the model is in this format and
 * why, which files to write, and how to read them back. It refuses a model that the format cannot hold with a
 * `UsageError` that names the setting. Nothing is written before all of this is known.
 */
import type { RunConfig } from '../../../core/config/run-config.ts'
import type { ModelConfig } from '../../../core/model/config.ts'
import type { Runtime } from '../../../engine/contract/runtime.ts'
import type { Tokenizer } from '../../../train/data/tokenizer/tokenizer.ts'
import type { OutputFile } from '../../../train/run/checkpoint/safetensors.ts'
import type { Weights } from './weights.ts'

/** All formats, in the order of the documentation. */
export const exportFormats = ['hf', 'onnx', 'gguf'] as const
export type ExportFormat = (typeof exportFormats)[number]

/** Types in which weights are stored: numbers, and blocks of 32 numbers that share a scale, which only GGUF has. */
export const exportDtypes = ['float32', 'bf16', 'f16', 'q8_0', 'q4_0'] as const
export type ExportDtype = (typeof exportDtypes)[number]
export type BlockDtype = 'q8_0' | 'q4_0'
export type NumberDtype = Exclude<ExportDtype, BlockDtype>

export const isBlockDtype = (dtype: ExportDtype): dtype is BlockDtype => dtype === 'q8_0' || dtype === 'q4_0'

export interface ExportSource {
  readonly config: RunConfig
  readonly weights: Weights
  readonly tokenizer: Tokenizer
  readonly runtime: Runtime
  readonly dtype: ExportDtype
}

export interface PreparedExport {
  /** Name of the architecture in the terms of the format, such as `OlmoeForCausalLM`. */
  readonly architecture: string
  /** The reason for this architecture, as the rest of a sentence that begins with `Chosen because`. */
  readonly reason: string
  /** Files to write. Their names are relative to the folder of the export, and may contain folders. */
  readonly files: readonly OutputFile[]
  /** How programs load the export, as text of the model card. */
  readonly usage: string
  /** Computes logits [T, V] of one sequence from the written files. */
  readonly readBack: (folder: string, tokens: Int32Array) => Promise<ReadBack>
}

/** Logits by a reader that is not the writer, or the reason why there are no logits. */
export type ReadBack = { readonly reader: string; readonly logits: Float32Array } | { readonly missing: string }

/** Checks a configuration, without the weights. @throws UsageError naming the setting that the format cannot hold */
export type CheckModel = (model: ModelConfig, dtype: ExportDtype) => void

export interface Format {
  readonly check: CheckModel
  prepare(source: ExportSource): Promise<PreparedExport>
}
