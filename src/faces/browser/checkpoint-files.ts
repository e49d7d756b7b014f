/** Checkpoints in memory, with the same files that `src/node/run/checkpoint` writes to a disk. */
import { RunError, UsageError } from '../../core/errors.ts'
import { sha256 } from '../../core/sha256.ts'
import {
  type Checked,
  type CheckpointTensors,
  checkState,
  folderName,
  parseStateFile,
  STATE,
  writeAll,
  writeDescription,
} from '../../train/run/checkpoint/description.ts'
import { type Digest, fillTensors, type TensorFile } from '../../train/run/checkpoint/read-safetensors.ts'
import { type OutputFile, shardFiles, storedTensors } from '../../train/run/checkpoint/safetensors.ts'
import { MissingFile, verify } from '../../train/run/checkpoint/verify.ts'
import { type RunFiles, textOf } from './run-files.ts'

const FOLDER = 'checkpoints'

/** The files of a checkpoint, by their paths in the run directory. The tensors must not change until it resolves. */
export async function writeCheckpointFiles(
  step: number,
  tensors: CheckpointTensors,
  state: unknown,
): Promise<RunFiles> {
  checkState(state)
  const files = new Map<string, Uint8Array>()
  const write = async (file: OutputFile): Promise<Checked> => {
    const { bytes, sums } = await contentsOf(file)
    files.set(`${FOLDER}/${folderName(step)}/${file.name}`, bytes)
    return { sum: await sha256(bytes), tensors: sums }
  }
  const model = await writeAll(shardFiles('model', [storedTensors(tensors.model)]), write)
  const optimizer = await writeAll(shardFiles('optimizer', [storedTensors(tensors.optimizer)]), write)
  await writeDescription(step, [{ model, optimizer }], state, write)
  return files
}

async function contentsOf(file: OutputFile) {
  const bytes = new Uint8Array(file.bytes)
  const sums: Record<string, string> = {}
  let at = 0
  for (const { name, byteLength, read } of file.pieces) {
    bytes.set(await read(), at)
    if (name !== undefined) sums[name] = await sha256(bytes.subarray(at, at + byteLength))
    at += byteLength
  }
  return { bytes, sums }
}

export interface FoundCheckpoint {
  readonly step: number
  /** Path of its folder in the run directory. */
  readonly path: string
  readonly state: unknown
}

/**
 * The newest intact checkpoint, whose every byte has been checked.
 * @param warn Receives a message for each newer checkpoint that is not intact.
 * @throws UsageError if no checkpoint is intact
 */
export async function newestCheckpointFiles(
  files: RunFiles,
  warn: (message: string) => void,
): Promise<FoundCheckpoint> {
  const steps = new Set(
    [...files.keys()].flatMap((path) => {
      const [, step] = /^checkpoints\/step-(\d{8,})\//.exec(path) ?? []
      return step === undefined ? [] : [Number(step)]
    }),
  )
  for (const step of [...steps].sort((a, b) => b - a)) {
    const path = `${FOLDER}/${folderName(step)}`
    const verdict = await verify(readerOf(files, path), step, 'contents')
    if ('state' in verdict) return { step, path, state: verdict.state }
    warn(`skipping checkpoint ${path}: ${verdict.reason}`)
  }
  throw new UsageError('invalid run: it has no checkpoint that is intact')
}

function readerOf(files: RunFiles, path: string) {
  const file = (name: string): Uint8Array => {
    const bytes = files.get(`${path}/${name}`)
    if (!bytes) throw new MissingFile(name)
    return bytes
  }
  return {
    text: async (name: string) => textOf(file(name)),
    size: async (name: string) => file(name).length,
    sum: async (name: string) => sha256(file(name)),
  }
}

/** Fills the tensors from a checkpoint. @throws RunError if a file is missing, and as {@link fillTensors} */
export async function readCheckpointFiles(files: RunFiles, path: string, tensors: CheckpointTensors): Promise<void> {
  const { census = {} } = parseStateFile(textOf(files.get(`${path}/${STATE}`) as Uint8Array))
  for (const stem of ['model', 'optimizer'] as const) {
    const shards = [...files].filter(([name]) => new RegExp(`^${path}/${stem}(-[\\d-of]+)?\\.safetensors$`).test(name))
    const where = `${path}/${stem}.safetensors`
    if (shards.length === 0) throw new RunError(`no ${where} in this run`)
    await fillTensors(shards.map(memoryFile), where, tensors[stem], startDigest, { census, widens: stem === 'model' })
  }
}

const memoryFile = ([path, bytes]: readonly [string, Uint8Array]): TensorFile => ({
  path,
  size: bytes.length,
  async read(into, position) {
    if (position + into.length > bytes.length) throw new RunError(`${path} is damaged: it ends at byte ${bytes.length}`)
    into.set(bytes.subarray(position, position + into.length))
  },
})

/** A digest that collects its parts, because the SHA-256 of the web takes all bytes at once. */
function startDigest(): Digest {
  const parts: Uint8Array[] = []
  return {
    update: (bytes) => parts.push(bytes.slice()),
    async end() {
      const all = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0))
      let at = 0
      for (const part of parts) {
        all.set(part, at)
        at += part.length
      }
      return sha256(all)
    },
  }
}
