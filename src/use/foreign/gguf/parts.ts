/**
 * A model in one GGUF file, or in several, as llama-gguf-split writes them: `NAME-00001-of-00003.gguf` and so on. The first
 * file has the metadata of the model, and each file says in `split.no` (from 0) and `split.count` which one it is.
 */
import { RunError, UsageError } from '../../../core/errors.ts'
import { DiskFile } from '../../../node/run/checkpoint/tensor-files.ts'
import type { Entry } from '../../../train/run/checkpoint/read-safetensors.ts'
import { type GgufHeader, readGgufHeader } from './header.ts'
import { Metadata } from './metadata.ts'

const ending = /-00001-of-(\d{5})\.gguf$/i

/** A file of a model, and the tensors in it. */
export interface GgufPart {
  readonly path: string
  readonly tensors: ReadonlyMap<string, Entry>
}

export interface GgufParts {
  readonly metadata: Metadata
  readonly parts: readonly GgufPart[]
  /** The tensors of all files. */
  readonly tensors: ReadonlyMap<string, Entry>
}

/** The paths of the files of a model, by the name of its first file. */
export function ggufPaths(path: string): string[] {
  const count = Math.max(1, Number(ending.exec(path)?.[1] ?? 1))
  const digits = (number: number) => String(number).padStart(5, '0')
  return Array.from({ length: count }, (_, i) =>
    i === 0 ? path : path.replace(ending, `-${digits(i + 1)}-of-${digits(count)}.gguf`),
  )
}

/**
 * Reads the headers of all files of a model.
 * @throws UsageError if the path names another file than the first; RunError if a file is missing, damaged or of another
 *   model
 */
export async function readGgufParts(path: string): Promise<GgufParts> {
  const first = await headerOf(path)
  const metadata = new Metadata(path, first.metadata)
  const count = metadata.natural('split.count', 1)
  if (count > 1) expectFirst(path, metadata, count)
  const parts: GgufPart[] = [{ path, tensors: first.tensors }]
  for (const [i, other] of count > 1 ? ggufPaths(path).entries() : []) {
    if (i === 0) continue
    const header = await headerOf(other)
    const own = new Metadata(other, header.metadata)
    const [place, of] = [own.natural('split.no', 0), own.natural('split.count', 1)]
    if (place !== i || of !== count)
      throw new RunError(
        `${other} is file ${place + 1} of ${of} by its metadata (expected file ${i + 1} of ${count}: is it renamed, or of ` +
          'another model?)',
      )
    parts.push({ path: other, tensors: header.tensors })
  }
  const tensors = new Map<string, Entry>()
  for (const part of parts)
    for (const [name, entry] of part.tensors) {
      if (tensors.has(name)) throw new RunError(`${part.path} has ${name}, which another file of the model has too`)
      tensors.set(name, entry)
    }
  const expected = count > 1 ? metadata.natural('split.tensors.count', tensors.size) : tensors.size
  if (tensors.size !== expected)
    throw new RunError(`the ${count} files of ${path} have ${tensors.size} tensors (expected ${expected})`)
  return { metadata, parts, tensors }
}

function expectFirst(path: string, metadata: Metadata, count: number): void {
  const place = metadata.natural('split.no', 0)
  if (place !== 0)
    throw new UsageError(
      `${path} is file ${place + 1} of the ${count} files of a model (expected the path of the first)`,
    )
  const names = ggufPaths(path)
  if (names.length !== count) {
    const digits = String(count).padStart(5, '0')
    throw new UsageError(
      `${path} is one of ${count} files of a model, and its name does not end with -00001-of-${digits}.gguf, by which the ` +
        'others are found (give the files their names, or merge them: llama-gguf-split --merge)',
    )
  }
}

async function headerOf(path: string): Promise<GgufHeader> {
  const file = await DiskFile.open(path)
  try {
    return await readGgufHeader(file)
  } finally {
    await file.close()
  }
}
