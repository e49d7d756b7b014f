/**
 * Models of other libraries, in Hugging Face's layout: a folder with `config.json` and safetensors. An architecture is
 * a table with two parts. Both work in both directions, so import and export read the same table:
 *
 * - `settings`: keys of config.json and the fields of `ModelConfig` that mean the same. `read` turns keys into fields,
 *   `write` turns fields into keys. A configuration can be written if reading the written keys gives a model that
 *   computes the same (`configOf` checks that, so `write` need not).
 * - `tensors`: which tensors a model of that configuration has, and where their rows are in ours.
 *
 * Think of every tensor as a matrix. *Theirs* is [out, in], leading dimensions flattened into rows, and a vector is one
 * column. It is cut into runs of consecutive rows, its *parts*. A part is a block of one tensor of *ours*, which is
 * [in, out]: transposed, its rows are columns of ours from `at` on. Parts that are not transposed (norms, biases,
 * embeddings) are rows of ours from `at` on. Ours are named as in checkpoints: every expert is a tensor.
 *
 * @example Two query heads, one head of keys and values, each of width 2; D = 4:
 * ```
 * { name: 'model.layers.0.self_attn.k_proj.weight', shape: [2, 4],
 *   parts: [{ rows: 2, ours: 'layers.0.attention.qkv', at: 4, transposed: true }] }
 *                                        theirs[r, c] = ours[c, 4 + r] of [4, 8]
 * ```
 * Experts 0 and 1 of GraniteMoE, gate then up, each [f, D]:
 * ```
 * { name: 'model.layers.0.block_sparse_moe.input_linear.weight', shape: [2, 2·f, D],
 *   parts: [{ rows: f, ours: 'layers.0.moe.experts.0.gate', at: 0, transposed: true },
 *           { rows: f, ours: 'layers.0.moe.experts.0.up', at: 0, transposed: true },
 *           { rows: f, ours: 'layers.0.moe.experts.1.gate', at: 0, transposed: true }, ... ] }
 * ```
 */
import type { Fields } from '../../../core/config/fields.ts'
import type { ModelConfig } from '../../../core/model/config.ts'

export interface Architecture {
  /** `model_type` in config.json. */
  readonly type: string
  /** The class in `architectures`. */
  readonly className: string
  readonly settings: readonly Setting[]
  /** The tensors of a model of this configuration, in the order of their files. */
  tensors(model: ModelConfig): readonly TheirTensor[]
}

/** Keys of config.json that belong together, and the fields of `ModelConfig` that mean the same. */
export interface Setting {
  /** Keys that the setting reads and writes. */
  readonly keys: readonly string[]
  /**
   * Reads fields of the model, nested as in a configuration (`{ moe: { experts: 8 } }`).
   * @throws UsageError if a key has a value that Choir does not compute
   */
  read(config: Fields): Fields
  write(model: ModelConfig): Fields
}

/** A tensor in their files. */
export interface TheirTensor {
  readonly name: string
  readonly shape: readonly number[]
  /** Runs of rows of the tensor, in order; together they are the whole tensor. */
  readonly parts: readonly Part[]
}

export interface Part {
  readonly rows: number
  /** Name of our tensor, as in checkpoints. */
  readonly ours: string
  /** First column of our tensor if transposed, otherwise its first row. */
  readonly at: number
  readonly transposed: boolean
  /** Width d of heads whose rows are in another order in their file (`interleave.ts`); absent: the order is ours. */
  readonly interleaved?: number
}
