/** The report of an import, tensor by tensor: the contents of import.json. */
import type { Tokenizer } from '../../../train/data/tokenizer/tokenizer.ts'
import type { TheirTensor } from '../../foreign/architectures/contract.ts'
import type { OurTensor } from '../../foreign/architectures/ours.ts'
import type { StoredTensor } from '../../foreign/foreign-folder.ts'

/** Types in which an import stores weights: `source` keeps bfloat16 and float16. */
export const importDtypes = ['float32', 'source'] as const
export type ImportDtype = (typeof importDtypes)[number]

export interface ImportReport {
  readonly kind: 'import'
  readonly folder: string
  readonly directory: string
  /** `model_type`, or `choir` for a run. */
  readonly architecture: string
  readonly parameters: number
  /** Bytes of their tensors and of ours. */
  readonly bytes: { readonly read: number; readonly written: number }
  /** Types in which our tensors are stored. */
  readonly storedAs: readonly string[]
  /** The token before a text; null if there is none. */
  readonly begin: NamedToken | null
  /** Tokens that end a text. */
  readonly end: readonly NamedToken[]
  /** Whether the model has a chat template. */
  readonly chatTemplate: boolean
  /** Contradictions of the files, as sentences. */
  readonly notices: readonly string[]
  /** Keys of config.json that Choir does not know. */
  readonly ignoredKeys: readonly string[]
  /** Tensors that the model does not use. */
  readonly ignoredTensors: readonly string[]
  readonly tensors: readonly MappedTensor[]
  /** Tensors that are new: routers of upcycled layers. */
  readonly made: readonly OurTensor[]
}

export interface NamedToken {
  readonly id: number
  /** The token as tokenizer.json has it; null for an id without a token. */
  readonly token: string | null
}

export interface MappedTensor {
  readonly name: string
  readonly dtype: string
  readonly shape: readonly number[]
  /** Our tensors that hold rows of this tensor. */
  readonly ours: readonly string[]
}

/** The rules for texts of a model, with the names of tokens. */
export function textsOf({ rules, tokenOf }: Tokenizer): Pick<ImportReport, 'begin' | 'end' | 'chatTemplate'> {
  const named = (id: number): NamedToken => ({ id, token: tokenOf(id) ?? null })
  const { begin, end, chatTemplate } = rules
  return { begin: begin === null ? null : named(begin), end: end.map(named), chatTemplate: chatTemplate !== null }
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
