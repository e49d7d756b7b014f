/**
 * The safetensors format (github.com/huggingface/safetensors), and writing it: eight bytes with the length of the
 * header, a JSON header with dtype, shape and offsets of every tensor, then the data. `read-safetensors.ts` reads it.
 *
 * Models are never copied as a whole: a file is planned as pieces, tensor by tensor, without a copy if the tensors are
 * in memory of this process. Callers decide whether files are on a disk or in memory. Tensors beyond a limit are cut
 * into shards with an index, named as Hugging Face's libraries expect.
 */
import { RunError } from '../../../core/errors.ts'
import { readRange } from '../../../engine/contract/arena.ts'
import type { NamedTensor } from '../../step/store/named-tensors.ts'

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

export const FLOAT_BYTES = 4
/** Number of bytes of a value, for each dtype that Choir reads. */
export const bytesOfValue: Readonly<Record<string, number>> = { F32: FLOAT_BYTES, BF16: 2, F16: 2, U8: 1 }
const utf8 = new TextEncoder()
/** Maximum length of a header; the reference implementation refuses longer ones. */
export const MAX_HEADER_BYTES = 100_000_000

/** Tensors in memory as they are stored. @param finite Whether their float32 numbers must be finite. */
export function storedTensors(tensors: readonly NamedTensor[], finite = false): StoredTensor[] {
  // The format is little-endian, as are the views on nearly all machines that Node supports.
  if (new Uint8Array(Uint16Array.of(1).buffer)[0] !== 1) throw new RunError('big-endian machines are not supported')
  return tensors.map(({ name, dtype = 'F32', shape, range }) => {
    const byteLength = range.count * FLOAT_BYTES
    if (elements(shape) * (bytesOfValue[dtype] as number) !== byteLength)
      throw new Error(`internal: tensor ${name} of shape [${shape}] has ${byteLength} bytes`)
    return { name, dtype, shape, byteLength, finite, read: async () => bytesOf(await readRange(range)) }
  })
}

/** Cuts tensors into files of at most `shardBytes` bytes of data each; a larger tensor gets a file of its own. */
export function shardsOf(tensors: readonly StoredTensor[], shardBytes: number): StoredTensor[][] {
  const shards: StoredTensor[][] = [[]]
  const names = new Set(['__metadata__'])
  let filled = 0
  for (const tensor of tensors) {
    const { name, byteLength } = tensor
    if (names.has(name)) throw new Error(`internal: tensor name used twice: ${name}`)
    names.add(name)
    if (filled > 0 && filled + byteLength > shardBytes) {
      shards.push([])
      filled = 0
    }
    shards.at(-1)?.push(tensor)
    filled += byteLength
  }
  return shards
}

/** Files of shards, named `<stem>.safetensors`, or `<stem>-00002-of-00003.safetensors` if there are several. */
export function shardFiles(
  stem: string,
  shards: readonly (readonly StoredTensor[])[],
  { first = 0, count = shards.length }: { readonly first?: number; readonly count?: number } = {},
): OutputFile[] {
  const digits = (i: number) => String(i).padStart(5, '0')
  const nameOf = (i: number) =>
    count === 1 ? `${stem}.safetensors` : `${stem}-${digits(first + i + 1)}-of-${digits(count)}.safetensors`
  return shards.map((shard, i) => tensorFile(nameOf(i), shard))
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

/** A tensor as it is stored, in a dtype of the format. */
export interface StoredTensor extends Piece {
  readonly name: string
  readonly dtype: string
  readonly shape: readonly number[]
}

/** One file with these tensors. */
function tensorFile(name: string, tensors: readonly StoredTensor[]): OutputFile {
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

/** The bytes of floats, without a copy. */
export const bytesOf = ({ buffer, byteOffset, byteLength }: Float32Array): Uint8Array =>
  new Uint8Array(buffer, byteOffset, byteLength)

/** Number of values of a tensor. */
export function elements(shape: readonly number[]): number {
  return shape.reduce((product, dimension) => product * dimension, 1)
}
