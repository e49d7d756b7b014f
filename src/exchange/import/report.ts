/** What an import did, tensor by tensor: the contents of import.json. */
import type { TheirTensor } from '../architectures/contract.ts'
import type { OurTensor, Source } from '../architectures/ours.ts'
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
  /** Our tensors that its rows are in. */
  readonly ours: readonly string[]
}

/** @param sources Of our tensors, by name; without entries for new ones. */
export function mappedTensors(
  theirs: readonly TheirTensor[],
  ours: readonly { readonly tensor: OurTensor; readonly sources: readonly Source[] }[],
  stored: ReadonlyMap<string, StoredTensor>,
): MappedTensor[] {
  const places = new Map(theirs.map(({ name }) => [name, [] as string[]]))
  for (const { tensor, sources } of ours)
    for (const source of sources) places.get(source.theirs.name)?.push(tensor.name)
  return theirs.map(({ name, shape }) => ({
    name,
    dtype: stored.get(name)?.entry.dtype ?? '',
    shape,
    ours: places.get(name) ?? [],
  }))
}
