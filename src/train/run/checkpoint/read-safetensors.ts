/**
 * Reads tensors from files of the safetensors format (`safetensors.ts`) into memory. Headers are checked before any
 * tensor is written, and data is read through a bounded buffer, so a model is never in memory twice.
 */
import { widenBfloat16 } from '../../../core/bfloat16.ts'
import { option, RunError, wording } from '../../../core/errors.ts'
import { widenFloat16 } from '../../../core/float16.ts'
import type { NamedTensor } from '../../step/store/named-tensors.ts'
import { bytesOf, bytesOfValue, elements, FLOAT_BYTES, MAX_HEADER_BYTES } from './safetensors.ts'

const READ_BYTES = 4 << 20
const HALF_BYTES = 2

/** A tensor in a file; `begin` and `end` are bytes from the start of the file. */
export interface Entry {
  readonly dtype: string
  readonly shape: readonly number[]
  readonly begin: number
  readonly end: number
}

export interface Expected {
  /** Names of tensors that the files may have besides those to read. */
  readonly elsewhere?: ReadonlySet<string>
  /** SHA-256 of tensors by name. */
  readonly census?: Readonly<Record<string, string>>
  /** Whether tensors in float32 may be stored as BF16 or F16, as an import can leave them. */
  readonly widens?: boolean
  /** Whether NaN and infinities are refused: a training never leaves them in parameters and moments. */
  readonly finite?: boolean
  /** Ends reading with its reason; it is checked between pieces of a few MiB. */
  readonly signal?: AbortSignal | undefined
}

/** A file of tensors, on a disk or in memory. */
export interface TensorFile {
  readonly path: string
  readonly size: number
  /** Fills `into` with the bytes from `position` on. @throws RunError if the file is shorter */
  read(into: Uint8Array, position: number): Promise<void>
}

/** SHA-256 of bytes that come in parts. */
export interface Digest {
  update(bytes: Uint8Array): void
  /** Returns the sum in hexadecimal. */
  end(): Promise<string>
}

/**
 * Fills the tensors from all files of a stem. Names and shapes are compared before any tensor is written.
 * @param where Names the files in messages.
 * @throws RunError naming the missing, extra, duplicate, misshaped or damaged tensors, or the tensors of another
 * checkpoint
 */
export async function fillTensors(
  files: readonly TensorFile[],
  where: string,
  tensors: readonly NamedTensor[],
  startDigest: () => Digest,
  { elsewhere = new Set(), census = {}, widens = false, finite = false, signal }: Expected = {},
): Promise<void> {
  const headers = await Promise.all(files.map(readHeader))
  const stored = new Map<string, { readonly path: string; readonly entry: Entry }>()
  for (const [i, { path }] of files.entries())
    for (const [name, entry] of headers[i] as Header) {
      const other = stored.get(name)
      if (other) throw new RunError(`${where} holds ${name} twice, in ${other.path} and ${path}`)
      stored.set(name, { path, entry })
    }
  const missing = tensors.filter(({ name }) => !stored.has(name)).map(({ name }) => name)
  if (missing.length > 0) throw new RunError(`${where} lacks ${firstNames(missing)}, which this model has`)
  const expected = new Set(tensors.map(({ name }) => name))
  const extra = [...stored.keys()].filter((name) => !expected.has(name) && !elsewhere.has(name))
  if (extra.length > 0) throw new RunError(`${where} holds ${firstNames(extra)}, which this model does not have`)
  for (const { name, dtype: expectedType = 'F32', shape } of tensors) {
    const { dtype, shape: storedShape } = (stored.get(name) as { entry: Entry }).entry
    if (dtype !== expectedType && !(widens && expectedType === 'F32' && isHalf(dtype)))
      throw new RunError(`${where}: ${name} has dtype ${dtype} (expected ${expectedType})`)
    if (String(storedShape) !== String(shape))
      throw new RunError(
        `${where}: ${name} has shape [${storedShape.join(', ')}] (this model has [${shape.join(', ')}])`,
      )
  }
  const byName = new Map(tensors.map((tensor) => [tensor.name, tensor]))
  for (const [i, file] of files.entries())
    await scatter(file, headers[i] as Header, byName, startDigest, { census, finite, signal })
}

/** Tensors of a file by name, in order of their data. */
export type Header = ReadonlyMap<string, Entry>

/** @throws RunError if the file is damaged */
export async function readHeader(file: TensorFile): Promise<Header> {
  const { path, size } = file
  const length = new Uint8Array(8)
  if (size >= 8) await file.read(length, 0)
  const headerBytes = size >= 8 ? Number(new DataView(length.buffer).getBigUint64(0, true)) : Number.POSITIVE_INFINITY
  if (headerBytes > Math.min(MAX_HEADER_BYTES, size - 8))
    throw new RunError(`${path} is damaged: its header is truncated`)
  const json = new Uint8Array(headerBytes)
  await file.read(json, 8)
  return parseHeader(new TextDecoder().decode(json), 8 + headerBytes, size, path)
}

function parseHeader(json: string, dataStart: number, size: number, path: string): Map<string, Entry> {
  let header: Record<string, { dtype: string; shape: number[]; data_offsets: [number, number] }>
  try {
    header = JSON.parse(json)
  } catch {
    throw new RunError(`${path} is damaged: its header is not JSON`)
  }
  const entries: [string, Entry][] = []
  for (const name in header) {
    if (name === '__metadata__') continue
    const { dtype, shape, data_offsets: offsets } = header[name] ?? {}
    if (typeof dtype !== 'string' || !isCounts(shape) || !isCounts(offsets) || offsets.length !== 2)
      throw new RunError(`${path} is damaged: its header has no valid entry for ${name}`)
    const [begin, end] = offsets as [number, number]
    const valueBytes = bytesOfValue[dtype]
    if (valueBytes !== undefined && end - begin !== valueBytes * elements(shape))
      throw new RunError(`${path} is damaged: ${name} of shape [${shape}] has ${end - begin} bytes`)
    entries.push([name, { dtype, shape, begin: dataStart + begin, end: dataStart + end }])
  }
  entries.sort(([, a], [, b]) => a.begin - b.begin || a.end - b.end)
  let end = dataStart
  for (const [name, entry] of entries) {
    if (entry.begin !== end) throw new RunError(`${path} is damaged: the data of ${name} does not begin at ${end}`)
    end = entry.end
  }
  if (end !== size) throw new RunError(`${path} is damaged: it has ${size} bytes (expected ${end})`)
  return new Map(entries)
}

function isCounts(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((item) => Number.isSafeInteger(item) && item >= 0)
}

/** Reads a file sequentially through a buffer into its tensors; other tensors are skipped. */
async function scatter(
  file: TensorFile,
  header: Header,
  tensors: ReadonlyMap<string, NamedTensor>,
  startDigest: () => Digest,
  { census, finite, signal }: Required<Pick<Expected, 'census' | 'finite'>> & Pick<Expected, 'signal'>,
): Promise<void> {
  const buffer = new Uint8Array(READ_BYTES)
  // The data of a foreign file may begin at any byte, but numbers are written from an aligned array.
  const aligned = new Float32Array(READ_BYTES / FLOAT_BYTES)
  const halves = new Uint16Array(aligned.length)
  const last = [...header.values()].at(-1)?.end ?? 0
  let from = 0
  let until = 0
  for (const [name, { dtype, begin, end }] of header) {
    const tensor = tensors.get(name)
    if (!tensor) continue
    const { range, dtype: ours = 'F32' } = tensor
    const isWidened = ours === 'F32' && isHalf(dtype)
    const unit = isWidened ? HALF_BYTES : FLOAT_BYTES
    const sum = census[name] === undefined ? null : startDigest()
    let at = begin
    while (at < end) {
      if (until - at < unit) {
        from = at
        until = Math.min(at + READ_BYTES, last)
        await file.read(buffer.subarray(0, until - from), from)
        signal?.throwIfAborted()
      }
      const floats = Math.min(aligned.length, Math.floor((Math.min(end, until) - at) / unit))
      const bytes = buffer.subarray(at - from, at - from + floats * unit)
      const chunk = aligned.subarray(0, floats)
      if (isWidened) {
        new Uint8Array(halves.buffer).set(bytes)
        const widen = dtype === 'BF16' ? widenBfloat16 : widenFloat16
        widen(halves, chunk)
      } else bytesOf(chunk).set(bytes)
      if (finite && !(ours === 'BF16' ? allFiniteBf16(chunk) : ours !== 'F32' || allFinite(chunk)))
        throw new RunError(
          wording`${file.path}: ${name} holds numbers that are not finite, so the model computes nothing (use another checkpoint: ${option('checkpoint', 'STEP')})`,
        )
      await range.arena.write(range.start + (at - begin) / unit, chunk)
      sum?.update(bytes)
      at += bytes.length
    }
    if (sum && (await sum.end()) !== census[name])
      throw new RunError(
        `${file.path}: ${name} is not the tensor that was written with this checkpoint (it may come from another one)`,
      )
  }
}

const isHalf = (dtype: string): boolean => dtype === 'BF16' || dtype === 'F16'

export function allFinite(values: Float32Array): boolean {
  // 0 · x is NaN for NaN and infinities, and a sum is faster than a test of each number.
  let sum = 0
  for (let i = 0; i < values.length; i++) sum += (values[i] as number) * 0
  return sum === 0
}

/**
 * @param values Floats that each hold two numbers in bfloat16. NaN and infinities have all bits of the exponent set.
 */
function allFiniteBf16({ buffer, byteOffset, length }: Float32Array): boolean {
  return new Uint16Array(buffer, byteOffset, 2 * length).every((bits) => (bits & 0x7f80) !== 0x7f80)
}

/** The first three names, and the number of further names. */
export function firstNames(names: readonly string[]): string {
  const shown = names.slice(0, 3).join(', ')
  return names.length > 3 ? `${shown} and ${names.length - 3} more tensors` : shown
}
