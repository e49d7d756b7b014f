/**
 * The header of a GGUF file (github.com/ggml-org/ggml, docs/gguf.md), little-endian, versions 2 and 3: typed metadata,
 * then name, shape, type and place of each tensor. A header is read in growing pieces from its beginning, and every count
 * in it is compared with the bytes that are left, so a damaged file needs little memory and ends soon.
 */
import { formatValue } from '../../../core/config/problems.ts'
import { RunError, UsageError } from '../../../core/errors.ts'
import { grouped, bytes as sizeText } from '../../../core/text/numbers.ts'
import type { Entry, TensorFile } from '../../../train/run/checkpoint/read-safetensors.ts'
import { findDecoder } from '../decode/decoder.ts'

export type GgufValue = number | boolean | string | readonly (number | boolean | string)[]

export interface GgufHeader {
  readonly metadata: ReadonlyMap<string, GgufValue>
  /** Tensors by name; the last dimension varies fastest, as in PyTorch. */
  readonly tensors: ReadonlyMap<string, Entry>
}

/** Names of the types of tensors (`ggml_type` in ggml.h). */
const tensorTypes: Readonly<Record<number, string>> = {
  0: 'F32',
  1: 'F16',
  2: 'Q4_0',
  3: 'Q4_1',
  6: 'Q5_0',
  7: 'Q5_1',
  8: 'Q8_0',
  9: 'Q8_1',
  10: 'Q2_K',
  11: 'Q3_K',
  12: 'Q4_K',
  13: 'Q5_K',
  14: 'Q6_K',
  15: 'Q8_K',
  16: 'IQ2_XXS',
  17: 'IQ2_XS',
  18: 'IQ3_XXS',
  19: 'IQ1_S',
  20: 'IQ4_NL',
  21: 'IQ3_S',
  22: 'IQ2_S',
  23: 'IQ4_XS',
  24: 'I8',
  25: 'I16',
  26: 'I32',
  27: 'I64',
  28: 'F64',
  29: 'IQ1_M',
  30: 'BF16',
  34: 'TQ1_0',
  35: 'TQ2_0',
  39: 'MXFP4',
}

/** The first bytes of a file. */
export const MAGIC = 'GGUF'

const FIRST_BYTES = 2 ** 20
/** A header with the largest published vocabularies has about 16 MB. */
const MAX_HEADER_BYTES = 2 ** 28
const MAX_ELEMENTS = 2 ** 24
const MAX_DIMENSIONS = 4
/** Bytes of a name; llama.cpp writes at most 63 for a tensor. A longer one would fill messages. */
const MAX_NAME_BYTES = 1024
const DEFAULT_ALIGNMENT = 32
/** Fewest bytes of a pair of metadata: an empty key, a type and a byte; and of a tensor without dimensions. */
const MIN_PAIR_BYTES = 8 + 4 + 1
const MIN_TENSOR_BYTES = 8 + 4 + 4 + 8

/**
 * Reads the header of a file.
 * @throws UsageError if it is not such a file, or of another version; RunError naming what is damaged
 */
export async function readGgufHeader(file: TensorFile): Promise<GgufHeader> {
  for (let length = FIRST_BYTES; ; length *= 4) {
    const bytes = new Uint8Array(Math.min(length, file.size, MAX_HEADER_BYTES))
    await file.read(bytes, 0)
    const header = new Parser(bytes, file).header()
    if (header) return header
    if (bytes.length === file.size) throw damaged(file, `it ends at byte ${file.size}, within its header`)
    if (bytes.length === MAX_HEADER_BYTES) throw damaged(file, `its header has more than ${sizeText(MAX_HEADER_BYTES)}`)
  }
}

const damaged = ({ path }: TensorFile, reason: string): RunError => new RunError(`${path} is damaged: ${reason}`)

/** Ends the parsing of a header that goes on after the bytes that were read. */
const more = Symbol('more')

class Parser {
  private at = 0
  private readonly view: DataView
  private readonly bytes: Uint8Array
  private readonly file: TensorFile

  constructor(bytes: Uint8Array, file: TensorFile) {
    this.bytes = bytes
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    this.file = file
  }

  /** The header; undefined if the bytes do not reach its end. */
  header(): GgufHeader | undefined {
    try {
      return this.parse()
    } catch (error) {
      if (error === more) return undefined
      throw error
    }
  }

  private parse(): GgufHeader {
    const { path } = this.file
    const magic = new TextDecoder().decode(this.bytes.subarray(0, MAGIC.length))
    if (magic !== MAGIC)
      throw new UsageError(`${path} is not a GGUF file: it begins with ${formatValue(magic)} (expected "GGUF")`)
    this.at = MAGIC.length
    const version = this.uint32()
    if (version !== 2 && version !== 3) {
      const isBigEndian = version >= 2 ** 16
      throw new UsageError(
        `${path} ${isBigEndian ? 'is big-endian' : `has version ${version} of GGUF`} (expected version 2 or 3, ` +
          'little-endian: convert the model with a newer llama.cpp)',
      )
    }
    const tensorCount = this.count('tensors', MIN_TENSOR_BYTES)
    const pairs = this.count('pairs of metadata', MIN_PAIR_BYTES)
    const metadata = new Map<string, GgufValue>()
    for (let i = 0; i < pairs; i++) {
      const key = this.name()
      if (metadata.has(key)) throw damaged(this.file, `its metadata have ${key} twice`)
      metadata.set(key, this.value(key, this.uint32()))
    }
    const places = Array.from({ length: tensorCount }, () => this.place())
    const alignment = metadata.get('general.alignment') ?? DEFAULT_ALIGNMENT
    if (typeof alignment !== 'number' || !(alignment >= 8 && alignment <= 2 ** 20 && alignment % 8 === 0))
      throw damaged(this.file, `general.alignment is ${formatValue(alignment)} (expected a multiple of 8)`)
    const dataStart = Math.ceil(this.at / alignment) * alignment
    const tensors = new Map<string, Entry>()
    for (const { name, dtype, shape, offset, byteLength } of places) {
      if (tensors.has(name)) throw damaged(this.file, `it has the tensor ${name} twice`)
      const begin = dataStart + offset
      const end = begin + byteLength
      if (offset % alignment !== 0)
        throw damaged(this.file, `${name} begins at ${offset}, which is no multiple of ${alignment}`)
      if (end > this.file.size)
        throw damaged(
          this.file,
          `${name} ends at byte ${grouped(end)}, and the file at byte ${grouped(this.file.size)} (is its download complete?)`,
        )
      tensors.set(name, { dtype, shape, begin, end })
    }
    return { metadata, tensors }
  }

  private place() {
    const name = this.name()
    const dimensions = this.uint32()
    if (dimensions < 1 || dimensions > MAX_DIMENSIONS)
      throw damaged(this.file, `${name} has ${dimensions} dimensions (expected 1 to ${MAX_DIMENSIONS})`)
    const shape = Array.from({ length: dimensions }, () => this.uint64()).reverse()
    const number = this.uint32()
    const offset = this.uint64()
    const dtype = tensorTypes[number] ?? `type ${number}`
    // The bytes of a type that is not decoded are not known.
    const { block, bytes } = findDecoder(dtype) ?? { block: 1, bytes: 0 }
    const values = shape.reduce((product, size) => product * size, 1)
    if (!Number.isSafeInteger(values) || values === 0)
      throw damaged(this.file, `${name} has the shape [${shape.join(', ')}]`)
    if ((shape.at(-1) as number) % block !== 0)
      throw damaged(this.file, `rows of ${name} have ${shape.at(-1)} numbers, which are no blocks of ${block}`)
    return { name, dtype, shape, offset, byteLength: (values / block) * bytes }
  }

  private value(key: string, type: number): GgufValue {
    if (type !== 9) return this.scalar(key, type)
    const of = this.uint32()
    const sized = scalars[of]
    if (of !== 8 && !sized) throw damaged(this.file, `${key} is an array of type ${of}`)
    const length = this.count(`elements of ${key}`, sized?.bytes ?? 8)
    if (length > MAX_ELEMENTS)
      throw damaged(this.file, `${key} has ${grouped(length)} elements (expected at most ${grouped(MAX_ELEMENTS)})`)
    return Array.from({ length }, () => this.scalar(key, of))
  }

  private scalar(key: string, type: number): number | boolean | string {
    if (type === 8) return this.text()
    const scalar = scalars[type]
    if (!scalar) throw damaged(this.file, `${key} has type ${type}, which metadata do not have`)
    return scalar.read(this.view, this.take(scalar.bytes))
  }

  /** A number of things that each take at least `least` bytes of the file. */
  private count(what: string, least: number): number {
    const count = this.uint64()
    const left = this.file.size - this.at
    if (count * least > left)
      throw damaged(this.file, `it names ${grouped(count)} ${what}, and has only ${sizeText(Math.max(0, left))} left`)
    return count
  }

  private name(): string {
    const from = this.at
    const name = this.text()
    const length = this.at - from - 8
    if (length <= MAX_NAME_BYTES) return name
    throw damaged(this.file, `a name has ${grouped(length)} bytes (expected at most ${grouped(MAX_NAME_BYTES)})`)
  }

  private text(): string {
    const length = this.count('bytes of a text', 1)
    const from = this.take(length)
    return new TextDecoder().decode(this.bytes.subarray(from, from + length))
  }

  private uint32(): number {
    return this.view.getUint32(this.take(4), true)
  }

  /** @throws RunError above 2⁵³, where numbers are not exact: no file is as large */
  private uint64(): number {
    const value = Number(this.view.getBigUint64(this.take(8), true))
    if (!Number.isSafeInteger(value)) throw damaged(this.file, `it has the count ${value}`)
    return value
  }

  /** Moves on by some bytes, and returns where they begin. */
  private take(count: number): number {
    const from = this.at
    if (from + count > this.bytes.length) throw more
    this.at += count
    return from
  }
}

interface Scalar {
  readonly bytes: number
  read(view: DataView, at: number): number | boolean
}

const scalars: Readonly<Record<number, Scalar>> = {
  0: { bytes: 1, read: (view, at) => view.getUint8(at) },
  1: { bytes: 1, read: (view, at) => view.getInt8(at) },
  2: { bytes: 2, read: (view, at) => view.getUint16(at, true) },
  3: { bytes: 2, read: (view, at) => view.getInt16(at, true) },
  4: { bytes: 4, read: (view, at) => view.getUint32(at, true) },
  5: { bytes: 4, read: (view, at) => view.getInt32(at, true) },
  6: { bytes: 4, read: (view, at) => view.getFloat32(at, true) },
  7: { bytes: 1, read: (view, at) => view.getUint8(at) === 1 },
  10: { bytes: 8, read: (view, at) => Number(view.getBigUint64(at, true)) },
  11: { bytes: 8, read: (view, at) => Number(view.getBigInt64(at, true)) },
  12: { bytes: 8, read: (view, at) => view.getFloat64(at, true) },
}
