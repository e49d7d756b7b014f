/** The report of an import, tensor by tensor: the contents of import.json. */
import type { TheirTensor } from '../architectures/contract.ts'
import type { OurTensor } from '../architectures/ours.ts'
import type { StoredTensor } from './foreign-folder.ts'

export interface ImportReport {
  readonly kind: 'import'
  readonly folder: string
  readonly directory: string
  /** `model_type`, or `choir` for a run. */
  readonly architecture: string
  readonly parameters: number
  /** Bytes of their tensors and of ours. */
  readonly bytes: { readonly read: number; readonly written: number }
  /** Keys of config.json that Choir does not know. */
  readonly ignoredKeys: readonly string[]
  /** Tensors that the model does not use. */
  readonly ignoredTensors: readonly string[]
  readonly tensors: readonly MappedTensor[]
  /** Tensors that are new: routers of upcycled layers. */
  readonly made: readonly OurTensor[]
}

export interface MappedTensor {
  readonly name: string
  readonly dtype: string
  readonly shape: readonly number[]
  /** Our tensors that hold rows of this tensor. */
  readonly ours: readonly string[]
}

/**
 * Lists which of our tensors hold the rows of each of their tensors.
 * @param uses Names of our tensors that are made of each tensor in the tables of an architecture. There are several for
 *   the networks of a dense model whose layers get experts.
 */
export const mappedTensors = (
  theirs: readonly TheirTensor[],
  uses: ReadonlyMap<string, readonly string[]>,
  stored: ReadonlyMap<string, StoredTensor>,
): MappedTensor[] =>
  theirs.map(({ name, shape, parts }) => ({
    name,
    dtype: stored.get(name)?.entry.dtype ?? '',
    shape,
    ours: parts.flatMap(({ ours }) => uses.get(ours) ?? []),
  }))
