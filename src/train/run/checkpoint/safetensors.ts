/**
 * The safetensors format (github.com/huggingface/safetensors): eight bytes with the length of the
 * header, a JSON header with dtype, shape and offsets of every tensor, then the data.
 *
 * Models are never copied as a whole: a file is planned as pieces, tensor by tensor, without a copy if the tensors are
 * in memory of this process, and is read through a bounded buffer. Callers decide whether files are on a disk or in
 * memory. Tensors beyond a limit are cut into shards with an index, named as Hugging Face's libraries expect.
 */
import { widenBfloat16 } from '../../../core/bfloat16.ts'
import { option, RunError, wording } from '../../../core/errors.ts'
import { widenFloat16 } from '../../../core/float16.ts'
import { readRange } from '../../../engine/contract/arena.ts'
import type { NamedTensor } from '../../step/named-tensors.ts'

/** Name, size and contents of a file to write. */
export interface OutputFile {
  readonly name: string
  readonly bytes: number
  /** Parts of the contents, in order. */
  readonly pieces: readonly Piece[]
}

/** Part of a file; it has a name if it is a tensor. */
export interface Piece {
  readonly name?: string
  readonly byteLength: number
  /** Whether its float32 numbers must be finite; default: they may be any. */
  readonly finite?: boolean
  /** Returns the contents, which are a view of the tensor if it is in memory of this process. */
  read(): Promise<Uint8Array>
}

/** A tensor in a file; `begin` and `end` are bytes from the start of the file. */
export interface Entry {
  readonly dtype: string
  readonly shape: readonly number[]
  readonly begin: number
  readonly end: number
}

const READ_BYTES = 4 << 20
const FLOAT_BYTES = 4
const HALF_BYTES = 2
/** Number of bytes of a value, for each dtype that Choir reads. */
const bytesOfValue: Readonly<Record<string, number>> = { F32: FLOAT_BYTES, BF16: 2, F16: 2, U8: 1 }
const utf8 = new TextEncoder()
/** Maximum length of a header; the reference implementation refuses longer ones. */
const MAX_HEADER_BYTES = 100_000_000

/** Cuts tensors into files of at most `shardBytes` bytes of data each; a larger tensor gets a file of its own. */
export function shardsOf(tensors: readonly NamedTensor[], shardBytes: number): NamedTensor[][] {
  checkTensors(tensors)
  const shards: NamedTensor[][] = [[]]
  let filled = 0
  for (const tensor of tensors) {
    const bytes = tensor.range.count * FLOAT_BYTES
    if (filled > 0 && filled + bytes > shardBytes) {
      shards.push([])
      filled = 0
    }
    shards.at(-1)?.push(tensor)
    filled += bytes
  }
  return shards
}

/** Files of shards, named `<stem>.safetensors`, or `<stem>-00002-of-00003.safetensors` if there are several. */
export function shardFiles(
  stem: string,
  shards: readonly (readonly NamedTensor[])[],
  {
    first = 0,
    count = shards.length,
    finite = false,
  }: { readonly first?: number; readonly count?: number; readonly finite?: boolean } = {},
): OutputFile[] {
  const digits = (i: number) => String(i).padStart(5, '0')
  const nameOf = (i: number) =>
    count === 1 ? `${stem}.safetensors` : `${stem}-${digits(first + i + 1)}-of-${digits(count)}.safetensors`
  return shards.map((shard, i) => shardFile(nameOf(i), shard, finite))
}

/** The index `<stem>.safetensors.index.json` of several files. @param files Names and bytes of tensors by file. */
export function indexFile(
  stem: string,
  files: Readonly<Record<string, readonly { readonly name: string; readonly bytes: number }[]>>,
): OutputFile {
  const entries = Object.entries(files).flatMap(([file, tensors]) => tensors.map((tensor) => ({ ...tensor, file })))
  const total = entries.reduce((sum, { bytes }) => sum + bytes, 0)
  const map = Object.fromEntries(entries.map(({ name, file }) => [name, file]))
  const bytes = utf8.encode(JSON.stringify({ metadata: { total_size: total }, weight_map: map }, null, 1))
  return bytesFile(`${stem}.safetensors.index.json`, bytes)
}

/** A file of given contents. */
export const bytesFile = (name: string, bytes: Uint8Array): OutputFile => ({
  name,
  bytes: bytes.length,
  pieces: [pieceOf(bytes)],
})

const pieceOf = (bytes: Uint8Array): Piece => ({ byteLength: bytes.length, read: async () => bytes })

function checkTensors(tensors: readonly NamedTensor[]): void {
  // The format is little-endian, as are the views on nearly all machines that Node supports.
  if (new Uint8Array(Uint16Array.of(1).buffer)[0] !== 1) throw new RunError('big-endian machines are not supported')
  const names = new Set<string>()
  for (const { name, dtype = 'F32', shape, range } of tensors) {
    if (names.has(name) || name === '__metadata__') throw new Error(`internal: tensor name used twice: ${name}`)
    names.add(name)
    if (elements(shape) * (bytesOfValue[dtype] as number) !== range.count * FLOAT_BYTES)
      throw new Error(`internal: tensor ${name} of shape [${shape}] has ${range.count * FLOAT_BYTES} bytes`)
  }
}

const shardFile = (name: string, tensors: readonly NamedTensor[], finite: boolean): OutputFile =>
  tensorFile(
    name,
    tensors.map(({ name, dtype = 'F32', shape, range }) => ({
      name,
      dtype,
      shape,
      byteLength: range.count * FLOAT_BYTES,
      finite,
      read: async () => bytesOf(await readRange(range)),
    })),
  )

/** A tensor as it is stored, in a dtype of the format. */
export interface StoredTensor extends Piece {
  readonly name: string
  readonly dtype: string
  readonly shape: readonly number[]
}

/** One file with these tensors. */
export function tensorFile(name: string, tensors: readonly StoredTensor[]): OutputFile {
  // The transformers library requires `format` to load a file.
  const fields = ['"__metadata__":{"format":"pt"}']
  let offset = 0
  for (const { name, dtype, shape, byteLength } of tensors) {
    const end = offset + byteLength
    fields.push(`${JSON.stringify(name)}:{"dtype":"${dtype}","shape":[${shape}],"data_offsets":[${offset},${end}]}`)
    offset = end
  }
  const json = utf8.encode(`{${fields.join(',')}}`)
  if (json.length > MAX_HEADER_BYTES) throw new Error(`internal: too many tensors in ${name}: ${tensors.length}`)
  // Spaces after the JSON align the data to 8 bytes.
  const header = new Uint8Array(Math.ceil((8 + json.length) / 8) * 8).fill(0x20)
  new DataView(header.buffer).setBigUint64(0, BigInt(header.length - 8), true)
  header.set(json, 8)
  return { name, bytes: header.length + offset, pieces: [pieceOf(header), ...tensors] }
}

const bytesOf = ({ buffer, byteOffset, byteLength }: Float32Array): Uint8Array =>
  new Uint8Array(buffer, byteOffset, byteLength)

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

function elements(shape: readonly number[]): number {
  return shape.reduce((product, dimension) => product * dimension, 1)
}

/** The first three names, and the number of further names. */
export function firstNames(names: readonly string[]): string {
  const shown = names.slice(0, 3).join(', ')
  return names.length > 3 ? `${shown} and ${names.length - 3} more tensors` : shown
}
