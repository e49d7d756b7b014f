/** Writes a run directory with one checkpoint, tensor by tensor. At any instant there is a whole directory or none. */
import { readdir, rename, rm, writeFile } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import { formatValue } from '../../../core/config/problems.ts'
import type { RunConfig } from '../../../core/config/run-config.ts'
import { option, RunError, UsageError, wording } from '../../../core/errors.ts'
import { sizeOf } from '../../../core/graph/shape.ts'
import { sha256 } from '../../../core/sha256.ts'
import { version } from '../../../core/version.ts'
import type { Arena } from '../../../engine/contract/arena.ts'
import { writeChecked } from '../../../node/run/checkpoint/checked-file.ts'
import { checkpointsOf } from '../../../node/run/run-directory.ts'
import { GENERATION } from '../../../node/run/tokenizer-file.ts'
import { errorCode, makeFolder, syncFolder, writeError } from '../../../node/system/disk.ts'
import { makeTemporaryFolder, sweepLeftovers } from '../../../node/system/temporary-folders.ts'
import type { TextRules } from '../../../train/data/tokenizer/text-rules.ts'
import { folderName, writeAll, writeDescription } from '../../../train/run/checkpoint/description.ts'
import { type OutputFile, shardFiles, shardsOf } from '../../../train/run/checkpoint/safetensors.ts'
import type { State } from '../../../train/run/run-state.ts'
import type { NamedTensor } from '../../../train/step/store/named-tensors.ts'
import type { OurTensor } from '../../foreign/architectures/ours.ts'
import { bytesOfDtype, encode } from '../export/encode.ts'

const SHARD_BYTES = 4 * 2 ** 30

export interface NewRun {
  readonly config: RunConfig
  /** tokenizer.json. */
  readonly tokenizer: string
  /** Contents of generation.json; undefined if the rules of the tokenizer hold. */
  readonly rules: TextRules | undefined
  /** Hash of the text that the model was trained on. */
  readonly data: string
  readonly tensors: readonly StoredAs[]
  /** Reads the numbers of a tensor. It is called once for each tensor, in order. */
  read(tensor: OurTensor): Promise<Float32Array>
  /** Contents of import.json. */
  readonly report: object
}

/** A tensor of the new run, and the type in which it is stored. */
export interface StoredAs extends OurTensor {
  readonly dtype: StoredDtype
}
export type StoredDtype = 'F32' | 'BF16' | 'F16'

/** Bytes of a tensor in the run. */
export const storedBytes = ({ shape, dtype }: StoredAs): number => sizeOf(shape) * bytesOfDtype[encoded[dtype]]

const encoded = { F32: 'float32', BF16: 'bf16', F16: 'f16' } as const

/**
 * Writes the run into a folder beside `out`, and renames that folder.
 * @throws UsageError if `out` is a file or not empty; RunError if the disk is full or not writable; errors of `read`
 */
export async function writeRun(out: string, run: NewRun): Promise<void> {
  await refuseOccupied(out)
  const target = resolve(out)
  const parent = dirname(target)
  const needed = run.tensors.reduce((sum, tensor) => sum + storedBytes(tensor), 0)
  let temporary: string | undefined
  try {
    await makeFolder(parent)
    await sweepLeftovers(parent)
    temporary = await makeTemporaryFolder(parent, 'building')
    const draft = join(temporary, basename(target))
    await writeFiles(draft, run)
    await rename(draft, target)
    await syncFolder(parent)
  } catch (error) {
    if (errorCode(error) === undefined || error instanceof RunError) throw error
    throw await writeError(
      `write ${out}`,
      parent,
      error,
      needed,
      wording`Nothing was left there: free space, or choose another ${option('out')}.`,
    )
  } finally {
    if (temporary !== undefined) await rm(temporary, { recursive: true, force: true })
  }
}

async function writeFiles(
  folder: string,
  { config, tokenizer, rules, data, tensors, read, report }: NewRun,
): Promise<void> {
  const checkpoint = join(checkpointsOf(folder), folderName(0))
  await makeFolder(checkpoint)
  const write = (file: OutputFile) => writeChecked(join(checkpoint, file.name), file)
  const named = tensors.map((tensor) => lazily(tensor, () => read(tensor)))
  const model = await writeAll(shardFiles('model', shardsOf(named, SHARD_BYTES)), write)
  const state: State = { data, updates: 0, nonFiniteInRow: 0, tokenizer: await sha256(tokenizer) }
  await writeDescription(0, [{ model, optimizer: [] }], state, write)
  await syncFolder(checkpoint)
  const json = (contents: object) => `${JSON.stringify(contents, null, 2)}\n`
  const stored = { version: version(), created: new Date().toISOString(), ...config }
  for (const [name, text] of [
    ['tokenizer.json', tokenizer],
    ...(rules ? [[GENERATION, json(rules)] as const] : []),
    ['import.json', json(report)],
    ['config.json', json(stored)],
  ] as const)
    await writeFile(join(folder, name), text, { flush: true })
  await syncFolder(folder)
}

/** A tensor whose numbers are computed when it is written. */
function lazily(tensor: StoredAs, read: () => Promise<Float32Array>): NamedTensor {
  const { name, shape, dtype } = tensor
  const byteLength = storedBytes(tensor)
  const arena: Arena = {
    byteLength,
    host: null,
    async read() {
      const bytes = encode(await read(), encoded[dtype], name)
      return new Float32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4)
    },
    async write() {
      throw new Error(`internal: ${name} is read only`)
    },
    release() {},
  }
  return { name, shape, ...(dtype !== 'F32' && { dtype }), range: { arena, start: 0, count: byteLength / 4 } }
}

/** Checks that a folder is new or empty. @throws UsageError if it is a file or not empty */
export async function refuseOccupied(out: string): Promise<void> {
  const names = await readdir(out).catch((error: unknown): string[] => {
    if (errorCode(error) === 'ENOENT') return []
    if (errorCode(error) === 'ENOTDIR')
      throw new UsageError(
        wording`invalid ${option('out')}: ${formatValue(out)} is a file (expected a new or empty folder)`,
      )
    throw new RunError(`cannot read ${out}: ${(error as Error).message}`)
  })
  if (names.length > 0)
    throw new UsageError(
      wording`invalid ${option('out')}: ${formatValue(out)} holds ${names[0] ?? ''} (expected a new or empty folder)`,
    )
}
