/** The files of a checkpoint that describe its tensors: indices, state and checksums. */
import { isFields } from '../../../core/config/fields.ts'
import { parseJson } from '../../../core/text/json.ts'
import type { NamedTensor } from '../../step/store/named-tensors.ts'
import { bytesFile, indexFile, type OutputFile } from './safetensors.ts'

export interface CheckpointTensors {
  readonly model: readonly NamedTensor[]
  readonly optimizer: readonly NamedTensor[]
}

/** The name of a checkpoint. */
export const folderName = (step: number): string => `step-${String(step).padStart(8, '0')}`

export const SUMS = 'SHA256SUMS'
export const STATE = 'state.json'

/** The contents of state.json. */
export interface StateFile {
  readonly step: number
  /** Number of bytes of every file but state.json and SHA256SUMS. */
  readonly files: Readonly<Record<string, number>>
  /**
   * SHA-256 of every tensor by name, including every expert and its optimizer state by global id, so that a tensor from
   * another checkpoint is recognised. The field is missing in checkpoints of earlier versions.
   */
  readonly census?: Readonly<Record<string, string>>
  /** State of the trainer besides tensors. */
  readonly state: unknown
}

/** @throws SyntaxError if the text is not a state.json */
export function parseStateFile(text: string): StateFile {
  const stored = parseJson(text)
  if (!isFields(stored) || !Number.isSafeInteger(stored.step) || !isFields(stored.files))
    throw new SyntaxError(`${STATE} has not the fields of a checkpoint`)
  const { census = {} } = stored
  const isOf = (fields: unknown, type: string) =>
    isFields(fields) && Object.values(fields).every((of) => typeof of === type)
  if (!isOf(stored.files, 'number') || !isOf(census, 'string'))
    throw new SyntaxError(`${STATE} does not list the files and tensors of a checkpoint`)
  return stored as unknown as StateFile
}

/** SHA-256 of a file and of its tensors, in hexadecimal. */
export interface Checked {
  readonly sum: string
  /** Sums of every tensor, by name. */
  readonly tensors: Readonly<Record<string, string>>
}

/** Writes a file, to a disk or into memory. */
export type WriteFile = (file: OutputFile) => Promise<Checked>

export interface WrittenFile {
  readonly name: string
  readonly bytes: number
  readonly sum: string
  readonly tensors: readonly { readonly name: string; readonly bytes: number; readonly sum: string }[]
}

export async function writeAll(files: readonly OutputFile[], write: WriteFile): Promise<WrittenFile[]> {
  const written: WrittenFile[] = []
  for (const file of files) {
    const { sum, tensors } = await write(file)
    const { name, bytes, pieces } = file
    const checked = pieces.flatMap((piece) =>
      piece.name === undefined
        ? []
        : [{ name: piece.name, bytes: piece.byteLength, sum: tensors[piece.name] as string }],
    )
    written.push({ name, bytes, sum, tensors: checked })
  }
  return written
}

/**
 * Writes the files that describe the tensor files of all ranks.
 * @param state JSON without NaN or infinities.
 */
export async function writeDescription(
  step: number,
  ranks: readonly Readonly<Record<'model' | 'optimizer', readonly WrittenFile[]>>[],
  state: unknown,
  write: WriteFile,
): Promise<void> {
  const stems = (['model', 'optimizer'] as const).map((stem) => ({ stem, files: ranks.flatMap((of) => of[stem]) }))
  const files = stems.flatMap((stem) => stem.files)
  const indices = stems
    .filter((stem) => stem.files.length > 1)
    .map((of) => indexFile(of.stem, Object.fromEntries(of.files.map(({ name, tensors }) => [name, tensors]))))
  const written = [...files, ...(await writeAll(indices, write))]
  const census = Object.fromEntries(files.flatMap(({ tensors }) => tensors.map(({ name, sum }) => [name, sum])))
  const sizes = Object.fromEntries(written.map(({ name, bytes }) => [name, bytes]))
  const description: StateFile = { step, files: sizes, census, state }
  const text = (name: string, contents: string) => bytesFile(name, new TextEncoder().encode(contents))
  written.push(...(await writeAll([text(STATE, `${JSON.stringify(description)}\n`)], write)))
  const sums = written.map(({ name, sum }) => `${sum}  ${name}\n`).join('')
  await writeAll([text(SUMS, sums)], write)
}

/** Refuses NaN and infinities, for which JSON would store null, which would silently change the resumed run. */
export function checkState(state: unknown): void {
  JSON.stringify(state, (key, value: unknown) => {
    if (typeof value === 'number' && !Number.isFinite(value))
      throw new Error(`internal: checkpoint state has ${key}: ${value}`)
    return value
  })
}
